"""A recipe is the whole experiment, typed: its tables, and what of them shapes a result. The field
docs are the reference; ``recipe_file`` reads it.

Its data may be one table (``[data]``) or several sources (``[[data]]``), which become one data set;
``data.1.root`` is then the second one's. A recipe's ``[smoke]`` table is the reduction that a test
runs.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    field_validator,
    model_validator,
)

from mobilekd.formats.document import Document, GrownDocument
from mobilekd.formats.preprocess import Preprocess, Side
from mobilekd.support.files import sha256_json

Fraction = Annotated[float, Field(strict=True, ge=0, le=1)]
#: Counts; what is above the bound is a slip of the keyboard, and fits no array.
Positive = Annotated[int, Field(strict=True, ge=1, lt=2**31)]
Scale = Annotated[float, Field(strict=True, gt=0, le=1e6)]
#: At most what a TOML integer holds; every generator takes it.
Pixels = Annotated[Side, Field(strict=True)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]


def _home(text: str) -> str:
    try:
        return str(Path(text).expanduser()) if text.startswith("~") else text
    except RuntimeError as error:
        raise ValueError(f"{str(error).lower()} write the folder out") from None


def _json_only(options: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(options, allow_nan=False)
    except (TypeError, ValueError):
        raise ValueError("dates, NaN and infinity are no options; give numbers and texts") from None
    return options


#: A file or folder; ``~`` is the user's home.
Place = Annotated[str, AfterValidator(_home)]
Options = Annotated[dict[str, Any], AfterValidator(_json_only)]


#: ``data.origin`` that takes the origin of a photograph from its lesion's id.
LESION_ID = "lesion_id"


class DataTable(GrownDocument):
    """Where the photographs are. Paths are relative to the working folder."""

    later = frozenset(
        {"sources", "map", "origin", "duplicates", "exclude", "roles", "without_labels"}
        | {"columns", "allow_missing"}
    )

    kind: Literal["ham10000", "isic", "isic2020", "csv", "folder", "synthetic", "several"] = Field(
        description=(
            "how photographs and labels lie: ham10000, isic (2018, 2019) or isic2020 as published,"
            " any table (csv), a folder with one sub-folder for each class, or photographs"
            " generated on the spot (synthetic); several where [[data]] lists sources"
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
        if self.sources and (self.root or self.labels or self.metadata or self.origin):
            raise ValueError(
                "root, labels, metadata and origin belong to each source; write them there"
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


def data_title(document: Any) -> str:
    """``DataTable.title`` of a recipe's data as JSON, which need not be one of today's."""
    sources = document.get("sources") or [document]
    return " and ".join(dict.fromkeys(str(source.get("kind", "?")) for source in sources))


def _are_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)


class UnlabelledTable(Document):
    """Photographs that nobody labelled. A teacher answers them, and the student learns from its
    answers; a control, which has no teacher, does not see them.
    """

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


class TrainTable(Document):
    """One training run's schedule."""

    epochs: Positive = Field(20, description="times that training sees every photograph")
    batch_size: Positive = Field(64, description="photographs a step, over all processes together")
    optimizer: Literal["adamw", "sgd"] = Field(
        "adamw", description="AdamW, or SGD with Nesterov momentum 0.9"
    )
    lr: float = Field(
        1e-3,
        strict=True,
        gt=0,
        le=1000,
        description="highest learning rate; a cosine takes it down to 0 at the end",
    )
    weight_decay: float = Field(
        0.02,
        strict=True,
        ge=0,
        le=1000,
        description="decay of weights; biases and normalisation have none",
    )
    warmup_epochs: float = Field(
        1.0, strict=True, ge=0, lt=2**31, description="epochs in which the rate rises from 0 to lr"
    )
    ema: float = Field(
        0.99,
        strict=True,
        ge=0,
        lt=1,
        description="decay of the moving average of the weights; 0 turns it off",
    )
    label_smoothing: Fraction = Field(
        0.0,
        description=(
            "share of the label spread over all classes; of teachers (teach), a student's stands"
            " in its loss's options"
        ),
    )
    mixup: float = Field(
        0.0,
        strict=True,
        ge=0,
        le=1000,
        description="alpha of the Beta distribution; 0 turns it off; needs views = 0",
    )
    balance: Literal["none", "weighted", "sampling", "sqrt_sampling", "logit_adjustment"] = Field(
        "sqrt_sampling", description="how class imbalance is handled"
    )
    views: int = Field(
        0,
        strict=True,
        ge=0,
        lt=2**31,
        description="0 draws fresh views; n draws epoch % n of n fixed views and caches teachers",
    )
    compile: Literal["auto", "yes", "no"] = Field(
        "auto", description="torch.compile; auto on a CPU when the run is long enough to pay"
    )
    threads: int = Field(
        0, strict=True, ge=0, le=4096, description="CPU threads; 0 leaves it to torch"
    )


class OwnCode(GrownDocument):
    """A table that may name a function of the user's own, and then keeps its source."""

    later = frozenset({"code"})

    code: dict[str, str] = Field(
        default_factory=dict,
        description="source of an own function by file; filled as the recipe is read",
    )


class PretrainTable(TrainTable):
    """Learning to see before learning the task: the student's embedding follows a teacher's on
    every training photograph, labelled or not; then ``[train]`` begins from there.
    """

    epochs: int = Field(
        0, strict=True, ge=0, lt=2**31, description="passes over the photographs; 0 leaves it out"
    )
    teacher: int = Field(0, strict=True, ge=0, lt=2**31, description="whose embedding, by position")
    student_layer: str = Field("act2", description="the student's embedding: a layer by name")
    teacher_layer: str = Field(
        "global_pool", description="the teacher's embedding: a layer by name"
    )

    def loss(self) -> "LossTable":
        """The one term of its objective."""
        return LossTable(
            name="embedding", student_layer=self.student_layer, teacher_layer=self.teacher_layer
        )


class TeachTable(TrainTable):
    """The teachers' training; none where they are finished."""

    epochs: int = Field(
        20,
        strict=True,
        ge=0,
        lt=2**31,
        description=(
            "passes over the training photographs; 0 takes the teachers as their weights are, and"
            " measures them"
        ),
    )


class TeacherTable(OwnCode):
    """One teacher: a network by its timm or torchvision name, or a function of one's own, trained
    by ``teach`` under the recipe's split.
    """

    later = frozenset({"width", "height", "mean", "std", "classes"})

    model: str = Field(
        description=(
            "timm name, torchvision:NAME, file.py:function of your own, or onnx or pt2 for a"
            " program that trained names"
        )
    )
    classes: tuple[str, ...] = Field(
        (),
        description=(
            "of a finished teacher (trained names its file, or teach.epochs = 0): keys of its"
            " classes in the order of its answers; the data's own order where it is not given"
        ),
    )
    weights: Place | None = Field(
        None, description="hub, or a local weights file; nothing starts from random"
    )
    weight: Scale = Field(1.0, description="its share among several teachers")
    options: Options = Field(
        default_factory=dict, description="arguments for the model's constructor"
    )
    trained: Place | None = Field(
        None,
        description=(
            "a folder written by teach, instead of training here; or the file of a finished"
            " teacher (a checkpoint, .onnx, .pt2), which teach measures and takes as it is"
        ),
    )
    width: Pixels | None = Field(
        None, description="its own input width in pixels; the student's where it is not given"
    )
    height: Pixels | None = Field(
        None, description="its own input height in pixels; the student's where it is not given"
    )
    mean: tuple[float, float, float] | None = Field(
        None,
        description=(
            "its own normalisation; where it is not given that of its weights from the hub, else"
            " the student's"
        ),
    )
    std: tuple[Scale, Scale, Scale] | None = Field(None, description="likewise")


class StudentTable(OwnCode):
    """The network that goes onto the phone."""

    later = frozenset({"options", "exports"})

    model: str = Field(
        "mobilenetv2",
        description=(
            "mobilenetv2, mobilenetv3_small, mobilenetv3_large, lesionnet, timm:NAME,"
            " torchvision:NAME, or file.py:function of your own"
        ),
    )
    width: float = Field(
        0.35, strict=True, gt=0, le=2, description="factor on the channels of every layer"
    )
    weights: Place | None = Field(
        None,
        description=(
            "hub, reference:NAME (a shipped student), or a local weights file; nothing starts from"
            " random"
        ),
    )
    dropout: Fraction = Field(0.1, description="share of features dropped before the classifier")
    adapt: tuple[str, ...] = Field(
        (), description="named modifications, e.g. no_se, relu6, bounded, depth:0.75, head:512"
    )
    options: Options = Field(
        default_factory=dict,
        description="arguments for the constructor of a network of timm, torchvision or your own",
    )
    exports: tuple[str, ...] = Field(
        ("xnnpack-fp32", "xnnpack-int8"),
        description=(
            "for a network of timm, torchvision or your own: exports that are tried on random"
            " weights before an epoch is spent, as backend-precision; empty tries none"
        ),
    )

    @property
    def title(self) -> str:
        """The network in a few words; the width belongs to the MobileNets and LesionNet."""
        return self.model if ":" in self.model else f"{self.model} x{self.width:g}"


class LossTable(OwnCode):
    """One term of the objective: a loss by name, its weight and how that weight moves over
    training.
    """

    name: str = Field(
        description=(
            "cross_entropy, hinton, hard_label, dkd, dist, logit_standardisation, multi_level,"
            " fitnets, attention_transfer, rkd, crd_in_batch, or file.py:function of your own"
        )
    )
    weight: float = Field(
        1.0, strict=True, ge=0, le=1e6, description="factor of this loss in the sum"
    )
    schedule: Literal["constant", "linear_down", "linear_up", "warmup"] = Field(
        "constant",
        description=(
            "how the weight moves over training: not at all, down to 0, up from 0, or up within"
            " the first tenth"
        ),
    )
    options: Options = Field(
        default_factory=dict, description="the loss function's keyword arguments"
    )
    student_layer: str | None = Field(
        None, description="feature losses: the student's layer by name"
    )
    teacher_layer: str | None = Field(
        None, description="feature losses: the teacher's layer by name"
    )


class EnsembleTable(Document):
    """How several teachers become one."""

    rule: Literal["mean", "weighted", "per_class"] = Field(
        "mean",
        description=(
            "the plain mean of their probabilities, one weighted by teachers.N.weight, or one"
            " weighted for each class by the teachers' recall of it on validation (per_class)"
        ),
    )


class QuantizeTable(Document):
    """int8 export: how many training photographs calibrate, how long quantisation-aware training
    lasts.
    """

    calibration: Positive = Field(
        256, description="training photographs whose values set int8's ranges"
    )
    observer: Literal["minmax", "histogram"] = Field(
        "histogram",
        description="a value's range: the one with the least squared error, or smallest to largest",
    )
    correction: bool = Field(
        True,
        description=(
            "weights' rounding and biases corrected, each where held-out photographs say it helps"
        ),
    )
    qat_epochs: Positive = Field(
        3, description="epochs of quantisation-aware training (--precision int8-qat)"
    )
    qat_lr: float = Field(
        1e-5, strict=True, gt=0, le=1000, description="its learning rate, going down to 0"
    )


class DecisionTable(Document):
    """How answers follow from probabilities."""

    set_coverage: float = Field(
        0.9,
        strict=True,
        gt=0,
        lt=1,
        description=(
            "least share of each class whose answer, the set of classes that cannot be excluded,"
            " is to hold it"
        ),
    )


class GatesTable(Document):
    """What an export must pass, on data that calibrated nothing."""

    max_error: float = Field(
        1e-3,
        strict=True,
        gt=0,
        le=1e6,
        description="largest difference of probabilities, saved file against its eager source",
    )
    max_error_quantized: float = Field(
        0.05,
        strict=True,
        gt=0,
        le=1e6,
        description="the same where the file computes in int8 or fp16",
    )
    sqnr_db: float = Field(
        20.0,
        strict=True,
        ge=-200,
        le=200,
        description="least signal to quantisation noise in dB, saved file against its eager source",
    )
    agreement: Fraction = Field(0.98, description="least top-1 agreement with the fp32 student")
    accuracy_drop: Fraction = Field(
        0.01, description="the paired difference's lower 95% bound must lie above minus this"
    )


class Recipe(GrownDocument):
    """The whole experiment."""

    later = frozenset({"unlabelled", "pretrain", "decision"})

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="the run's folder below runs/; letters, digits, point, underscore and hyphen",
    )
    title: str = Field(
        "",
        description=(
            "for the list of recipes; cards and reports say what a run was, whatever was overridden"
        ),
    )
    cost: str = Field("", description="what a run cost, measured: time, machine, date")
    seed: Seed = Field(0, description="of weights, order and views; another seed, another run")
    data: DataTable = Field(description="where the photographs are")
    unlabelled: UnlabelledTable = Field(
        ALL_LABELLED, description="photographs without labels, for teachers to answer"
    )
    split: SplitTable = Field(SplitTable(), description="who trains, who chooses, who judges")
    preprocess: PreprocessTable = Field(PreprocessTable(), description="the model's input")
    augment: AugmentTable = Field(
        AugmentTable(), description="how a view of a photograph is drawn in training"
    )
    teachers: tuple[TeacherTable, ...] = Field(
        (), description="networks that teach; none leaves a student that learns from labels alone"
    )
    ensemble: EnsembleTable = Field(EnsembleTable(), description="how several teachers become one")
    student: StudentTable = Field(
        StudentTable(), description="the network that goes onto the phone"
    )
    losses: tuple[LossTable, ...] = Field(
        (LossTable(name="cross_entropy"),), description="what the student minimises: a sum"
    )
    pretrain: PretrainTable = Field(
        PretrainTable(), description="how the student learns to see before it learns the task"
    )
    train: TrainTable = Field(TrainTable(), description="the student's training, and its control's")
    teach: TeachTable = Field(TeachTable(), description="the teachers' training")
    quantize: QuantizeTable = Field(QuantizeTable(), description="how a file becomes int8")
    decision: DecisionTable = Field(
        DecisionTable(), description="how answers follow from probabilities"
    )
    gates: GatesTable = Field(GatesTable(), description="what an export must pass")
    smoke: Options = Field(
        default_factory=dict, description="overrides (dotted keys) that make a run of seconds"
    )

    @field_validator("data", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            return value
        return value[0] if len(value) == 1 else {"kind": "several", "sources": value}

    @model_validator(mode="after")
    def _mixup_needs_fresh_views(self) -> "Recipe":
        if self.train.mixup and self.train.views:
            raise ValueError(
                "train.mixup mixes photographs, so a cached view has no teacher output; set"
                " train.views = 0"
            )
        return self

    @model_validator(mode="after")
    def _something_to_minimise(self) -> "Recipe":
        if not any(loss.weight > 0 for loss in self.losses):
            raise ValueError(
                "losses: none with a weight above 0, which leaves nothing to minimise; give one, as"
                ' losses = [{name = "cross_entropy"}]'
            )
        return self

    @property
    def unlabelled_photographs(self) -> UnlabelledTable:
        """``[unlabelled]``, with the folder that ``data.unlabelled`` names in front."""
        tables = self.data.sources or (self.data,)
        named = tuple(table.unlabelled for table in tables if table.unlabelled is not None)
        if not named:
            return self.unlabelled
        folders = (*named, *self.unlabelled.folders)
        return self.unlabelled.model_copy(update={"folders": folders})

    def to_dict(self) -> dict[str, Any]:
        """JSON form, complete and resolved."""
        return self.model_dump(mode="json")

    def hash(self) -> str:
        """Hex SHA-256 of the resolved recipe."""
        return sha256_json(self.to_dict())


#: Keys that say where something lies or what it is called, not what it is; elsewhere the same
#: content gives the same result. Hashes of content stand in for them.
PLACES = frozenset(
    {"folders", "lists", "trained"}
    | {"root", "labels", "metadata", "duplicates", "exclude", "unlabelled"}
)
NAMES = frozenset({"name", "title", "cost", "smoke"})
#: Keys that change how fast a result comes or what is tried before, not what it is.
RESOURCES = frozenset({"threads", "exports"})


def shape(table: Document) -> dict[str, Any]:
    """What of a table shapes a result, as JSON: without places and resources; a file of weights
    counts as ``"file"``.
    """
    document = table.model_dump(mode="json", exclude=set(PLACES | RESOURCES))
    if isinstance(table, DataTable) and table.sources:
        document["sources"] = [shape(source) for source in table.sources]
    if "weights" in document and document["weights"] != "hub":
        document["weights"] = "file" if document["weights"] else None
    return document


def same_but_for_places(one: "Recipe", other: "Recipe") -> bool:
    """Whether two recipes ask for the same, apart from names and from where their files lie."""
    return _shapes(one) == _shapes(other)


def _shapes(recipe: Recipe) -> dict[str, Any]:
    return {key: _shaped(getattr(recipe, key)) for key in type(recipe).model_fields.keys() - NAMES}


def _shaped(value: Any) -> Any:
    if isinstance(value, Document):
        return shape(value)
    return [_shaped(item) for item in value] if isinstance(value, tuple) else value
