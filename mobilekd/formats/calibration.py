"""What turns probabilities into an answer: temperature, thresholds, sets, the fit to a clinic."""

from pydantic import Field

from mobilekd.formats.document import Document, GrownDocument


class Quality(Document):
    """Limits fitted on validation beyond which the apps say that a photograph is blurred or badly
    exposed.

    Measured on the preprocessed uint8 picture's luma ``(77 R + 150 G + 29 B) >> 8``: ``sharpness``
    is the variance of the 4-neighbour Laplacian over the inner pixels, ``mean`` the mean luma. Both
    limits are 1% quantiles.
    """

    sharpness_low: float
    luma_low: float
    luma_high: float


class Sets(Document):
    """When a class cannot be excluded (:mod:`mobilekd.metrics.conformal`): its probability is at
    least its threshold.
    """

    coverage: float = Field(
        gt=0, lt=1, description="least share of each class whose set was to hold it"
    )
    thresholds: dict[str, float] = Field(description="by class; 0 never excludes it")


class Rescale(Document):
    """What comes after the file, whose own temperature and priors stay inside: its probabilities
    ``p`` become ``softmax(power log(max(p, 1e-12)) + offsets)``.

    Since ``log p`` is the logits over the file's temperature plus its priors, but for a constant,
    this is any other temperature with any other priors, exactly.
    """

    power: float = Field(gt=0, description="the file's temperature divided by the new one")
    offsets: tuple[float, ...] = Field(min_length=2, description="added for each class")


class Calibration(GrownDocument):
    """What validation fixed: ``probabilities = softmax(logits / temperature + bias)``, and when to
    say "not sure".
    """

    later = frozenset({"sets", "rescale", "shares"})

    temperature: float = 1.0
    bias: tuple[float, ...] | None = Field(
        None, description="prior adjustment per class, if the decision uses one"
    )
    threshold: float = Field(0.0, description="below this top probability the answer is: not sure")
    coverage: float = Field(0.9, description="share of validation that the threshold keeps")
    coverage_by_class: dict[str, float] = Field(default_factory=dict)
    operating_points: dict[str, float] = Field(
        default_factory=dict, description="melanoma and malignant thresholds"
    )
    quality: Quality | None = None
    sets: Sets | None = Field(
        None, description="of classes that cannot be excluded; null before there were any"
    )
    rescale: Rescale | None = Field(
        None, description="of an artifact that was fitted to a clinic; temperature and bias stay"
    )
    shares: dict[str, float] = Field(
        default_factory=dict,
        description="of each class among the photographs that it was fitted on",
    )

    @property
    def final_temperature(self) -> float:
        """The temperature after a clinic's rescaling, too; ``temperature`` is the model file's."""
        return self.temperature / (self.rescale.power if self.rescale else 1.0)
