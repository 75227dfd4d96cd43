"""The tables of a recipe that say what learns from whom: train, pretrain, teach, teachers, student,
losses and ensemble.
"""

from typing import Literal

from pydantic import Field

from mobilekd.formats.document import Document, GrownDocument
from mobilekd.formats.recipe_types import Fraction, Options, Pixels, Place, Positive, Scale


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

    later = frozenset({"width", "height", "mean", "std", "classes", "licence"})

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
    licence: str = Field(
        "",
        description=(
            "of a finished teacher: the licence of its answers in words, for card and report; one"
            " that is trained here has that of the photographs"
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
