"""A recipe is the whole experiment, typed: its tables, and what of them shapes a result. The field
docs are the reference; ``recipe_file`` reads it.

Its data may be one table (``[data]``) or several sources (``[[data]]``), which become one data set;
``data.1.root`` is then the second one's. A recipe's ``[smoke]`` table is the reduction that a test
runs.
"""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from mobilekd.formats.data_tables import (
    ALL_LABELLED,
    AugmentTable,
    DataTable,
    PreprocessTable,
    SplitTable,
    UnlabelledTable,
)
from mobilekd.formats.document import Document, GrownDocument
from mobilekd.formats.recipe_types import Fraction, Options, Positive, Seed
from mobilekd.formats.training_tables import (
    EnsembleTable,
    LossTable,
    PretrainTable,
    StudentTable,
    TeacherTable,
    TeachTable,
    TrainTable,
)
from mobilekd.support.files import sha256_json


class QuantizeTable(GrownDocument):
    """int8 export: how many training photographs calibrate, how long quantisation-aware training
    lasts.
    """

    later: ClassVar[frozenset[str]] = frozenset({"float_layers"})

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
    float_layers: tuple[str, ...] = Field(
        (),
        description=(
            "layers that mixed precision leaves in floating point, as mobilekd inspect --layers"
            " names them; none: as few as pass on validation"
        ),
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


#: Tables whose keys are the user's own words.
FREE = frozenset({"code", "options", "smoke", "map", "columns"})


def places(recipe: "Recipe") -> list[tuple[str, str]]:
    """Every file and folder that a recipe names, as (key, place); not what the hub or this package
    has.
    """
    return [
        (key.replace("data.sources.", "data."), place)
        for key, place in _places("", recipe.to_dict())
        if place and place != "hub" and not place.startswith("reference:")
    ]


def _places(key: str, value: Any) -> Iterator[tuple[str, str]]:
    for name, item in value.items() if isinstance(value, dict) else enumerate(value):
        dotted = f"{key}.{name}" if key else str(name)
        if name == "folders":
            yield from ((dotted, place) for place in item)
        elif isinstance(item, str) and (name in PLACES or name == "weights"):
            yield dotted, item
        elif isinstance(item, (dict, list)) and name not in FREE:
            yield from _places(dotted, item)


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
