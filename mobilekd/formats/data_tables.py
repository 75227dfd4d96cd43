"""The tables of a recipe that say which photographs there are and how they are seen: data,
unlabelled, split, preprocess and augment.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from mobilekd.formats.document import Document, GrownDocument, parse_document
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.recipe_types import Fraction, Pixels, Place, Positive, Scale, Seed

#: ``data.origin`` that takes the origin of a photograph from its lesion's id.
LESION_ID = "lesion_id"


class DataTable(GrownDocument):
    """Where the photographs are. Paths are relative to the working folder."""

    later = frozenset(
        {"sources", "map", "origin", "duplicates", "exclude", "roles", "without_labels"}
        | {"columns", "allow_missing", "licence"}
    )

    kind: Literal[
        "ham10000", "isic", "isic2020", "isic2024", "csv", "folder", "synthetic", "several"
    ] = Field(
        description=(
            "how photographs and labels lie: ham10000, isic (2018, 2019), isic2020 or isic2024 as"
            " published, any table (csv), a folder with one sub-folder for each class, or"
            " photographs generated on the spot (synthetic); several where [[data]] lists sources"
        )
    )
    sources: tuple["DataTable", ...] = Field(
        (), description="several: the sources of one data set; [[data]] is short for it"
    )
    root: Place | None = Field(None, description="folder of the data set (synthetic needs none)")
    labels: Place | None = Field(
        None,
        description=(
            "isic: the one-hot ground truth CSV; csv: the table with a row for each photograph"
        ),
    )
    columns: dict[Literal["image", "label", "lesion_id", "split", "age", "sex", "site"], str] = (
        Field(
            default_factory=dict,
            description=(
                "csv: the table's columns by their meaning, where they have unusual names, e.g."
                ' label = "biopsy result"; "" does without'
            ),
        )
    )
    allow_missing: bool = Field(
        False,
        strict=True,
        description=(
            "leave out, and count, rows without a photograph and photographs without a row: for"
            " half an archive"
        ),
    )
    metadata: Place | None = Field(
        None, description="isic, folder: the metadata CSV with lesion_id"
    )
    unlabelled: Place | None = Field(
        None, description="a folder of photographs without labels, added to distillation"
    )
    map: dict[str, str] = Field(
        default_factory=dict,
        description='class or folder of the data = class to train, e.g. SCC = "akiec"',
    )
    origin: str = Field(
        "",
        description=(
            "where the photographs come from, in a word; lesion_id takes what stands before the"
            " number of each lesion's id (HAM_, BCN_, MSK4_)"
        ),
    )
    duplicates: Place | tuple[tuple[str, str], ...] = Field(
        (), description="pairs of ids that show one lesion, or a CSV image_a,image_b of them"
    )
    exclude: Place | tuple[str, ...] = Field(
        (), description="ids to leave out, or a file of them: one a line, or a CSV with image"
    )
    roles: dict[Literal["melanoma", "malignant"], tuple[str, ...]] = Field(
        default_factory=dict,
        description=(
            "which classes are melanoma and which malignant, whose metrics follow; empty guesses"
            " from the usual names"
        ),
    )
    licence: str = Field(
        "",
        description=(
            "the photographs' licence in words, for card and report; where it is not given that of"
            " the published data set, and of your own photographs none is stated"
        ),
    )
    count: Positive = Field(600, description="synthetic: photographs to generate")
    without_labels: int = Field(
        0,
        strict=True,
        ge=0,
        lt=2**31,
        description="synthetic: photographs to generate besides, without labels, for distillation",
    )
    size: Pixels = Field(96, description="synthetic: their width and height in pixels")
    seed: Seed = Field(0, description="synthetic: the generator's seed")

    @field_validator("duplicates", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        if not isinstance(value, str) and not (
            isinstance(value, (list, tuple))
            and all(_are_texts(pair) and len(pair) == 2 for pair in value)
        ):
            raise ValueError("a CSV file, or a list of pairs of ids")
        return value

    @field_validator("exclude", mode="before")
    @classmethod
    def _ids(cls, value: Any) -> Any:
        if not isinstance(value, str) and not _are_texts(value):
            raise ValueError("a file, or a list of ids")
        return value

    @model_validator(mode="after")
    def _sources_of_several(self) -> "DataTable":
        if (self.kind == "several") != bool(self.sources):
            raise ValueError(
                'kind = "several" and a list of sources need each other; write each source as'
                " [[data]]"
            )
        own = (self.root, self.labels, self.metadata, self.origin, self.licence)
        if self.sources and any(own):
            raise ValueError(
                "root, labels, metadata, origin and licence belong to each source; write them there"
            )
        if any(source.sources for source in self.sources):
            raise ValueError("a source cannot be several itself; list them all in [[data]]")
        return self

    @property
    def name(self) -> str:
        """What a source is called where it must be told from others."""
        return self.kind if self.origin in ("", LESION_ID) else self.origin

    @property
    def title(self) -> str:
        """The data in a few words: its kind, or the kinds of its sources."""
        return " and ".join(dict.fromkeys(source.kind for source in self.sources)) or self.kind


def as_data_table(data: DataTable | Mapping[str, Any]) -> DataTable:
    """Photographs as Python names them: a table, or its keys as a dictionary."""
    if isinstance(data, DataTable):
        return data
    example = 'write for example data={"kind": "folder", "root": "photographs"}'
    return parse_document(dict(data), DataTable, "data", "table of photographs", example)


def data_title(document: Any) -> str:
    """``DataTable.title`` of a recipe's data as JSON, which need not be one of today's."""
    sources = document.get("sources") or [document]
    return " and ".join(dict.fromkeys(str(source.get("kind", "?")) for source in sources))


def _are_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)


class UnlabelledTable(GrownDocument):
    """Photographs that nobody labelled. A teacher answers them, and the student learns from its
    answers; a control, which has no teacher, does not see them.
    """

    later = frozenset({"licence"})

    folders: tuple[Place, ...] = Field(
        (), description="folders of photographs, sub-folders included"
    )
    share: float = Field(
        0.0,
        strict=True,
        ge=0,
        lt=1,
        description="their share of each epoch's draws; 0 leaves it to their number",
    )
    licence: str = Field("", description="their licence in words, for card and report")


#: No unlabelled photographs.
ALL_LABELLED = UnlabelledTable()


class SplitTable(GrownDocument):
    """Who trains, who chooses, who judges. ``photograph`` leaks lesions and is labelled so wherever
    it is shown.

    With ``folds`` or ``test_origin`` the test part is given, ``test`` does not count, and
    ``validation`` is a share of the rest.
    """

    later = frozenset({"folds", "fold", "test_origin"})

    by: Literal["lesion", "photograph", "lists"] = Field(
        "lesion",
        description="what stays together: all photographs of a lesion, nothing, or as lists say",
    )
    validation: Fraction = Field(
        0.1, description="share of each class that calibrates and chooses, and trains nothing"
    )
    test: Fraction = Field(0.2, description="share of each class that judges, and does only that")
    seed: int = Field(
        0, strict=True, ge=-(2**63), lt=2**63, description="another seed draws another split"
    )
    lists: Place | None = Field(
        None, description="lists: a JSON file {train: [ids], validation: [ids], test: [ids]}"
    )
    folds: int = Field(
        0,
        strict=True,
        ge=0,
        le=1000,
        description="the data in so many parts, each of which judges once; 0 draws one test part",
    )
    fold: int = Field(0, strict=True, ge=0, lt=1000, description="which of them judges, from 0")
    test_origin: str = Field(
        "", description="all photographs of this origin judge, and only the others train"
    )

    @model_validator(mode="after")
    def _one_protocol(self) -> "SplitTable":
        if self.folds == 1:
            raise ValueError("folds = 1 leaves nothing to train on; set 2 or more")
        if self.fold and self.fold >= self.folds:
            raise ValueError(
                f"fold = {self.fold}, and folds are numbered from 0 to folds - 1"
                f" (folds = {self.folds})"
            )
        if self.folds and self.test_origin:
            raise ValueError("folds and test_origin both say who judges; keep one")
        if self.by == "lists" and (self.folds or self.test_origin):
            raise ValueError('by = "lists" says who judges; take out folds and test_origin')
        if self.by == "photograph" and self.test_origin:
            raise ValueError('test_origin keeps lesions apart; set by = "lesion"')
        return self


class PreprocessTable(Document):
    """The model's input; the graph normalises 0..255 by ``(x / 255 - mean) / std``."""

    width: Pixels = Field(128, description="the input's width in pixels")
    height: Pixels = Field(128, description="the input's height in pixels")
    #: A whole pixel level, so that every pixel lies on a step of int8; half way between two (0.5)
    #: it would lose half a level.
    mean: tuple[float, float, float] = Field(
        (128 / 255, 128 / 255, 128 / 255),
        description="taken from red, green and blue, on a scale of 0 to 1",
    )
    std: tuple[Scale, Scale, Scale] = Field(
        (0.5, 0.5, 0.5), description="divides red, green and blue after that"
    )

    def to_preprocess(self) -> Preprocess:
        """The same as the policy that artifacts and apps share."""
        return Preprocess(width=self.width, height=self.height, mean=self.mean, std=self.std)


class AugmentTable(GrownDocument):
    """How a view of a photograph is drawn: flips always, then a similarity warp and a colour
    change; then what other clinics' photographs have, each 0 (off) unless asked for.
    """

    later = frozenset(
        {"aspect", "white_balance", "gamma", "blur", "resolution", "jpeg", "hair", "vignette"}
    )

    rotation: float = Field(
        180.0, strict=True, ge=0, le=180, description="largest rotation in degrees"
    )
    scale: Fraction = Field(0.2, description="zoom between 1 / (1 + scale) and 1 + scale")
    translate: Fraction = Field(0.08, description="largest shift as a share of half the side")
    brightness: Fraction = Field(0.15, description="factor between 1 - this and 1 + this")
    contrast: Fraction = Field(
        0.15, description="distance to the mean grey, times 1 - this to 1 + this"
    )
    saturation: Fraction = Field(
        0.15, description="distance of each pixel to its grey, times 1 - this to 1 + this"
    )
    hue: Fraction = Field(0.02, description="rotation in the colour plane as a share of the circle")
    aspect: Fraction = Field(0.0, description="squashed or stretched by up to 1 + aspect")
    white_balance: Fraction = Field(
        0.0, description="gain of each colour between 1 / (1 + white_balance) and 1 + white_balance"
    )
    gamma: Fraction = Field(0.0, description="exponent between 1 / (1 + gamma) and 1 + gamma")
    blur: Fraction = Field(0.0, description="share of the views that are blurred")
    resolution: Fraction = Field(
        0.0, description="share of the views reduced to a half to a quarter and enlarged again"
    )
    jpeg: Fraction = Field(
        0.0, description="share of the views compressed as JPEG, quality 20 to 80"
    )
    hair: Fraction = Field(0.0, description="share of the views with dark hairs drawn over them")
    vignette: Fraction = Field(0.0, description="share of the views in a dermoscope's black rim")
