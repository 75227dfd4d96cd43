"""A figure with its interval, as documents keep it."""

from mobilekd.formats.document import Document


class Interval(Document):
    """A figure with its 95% interval; ``value`` is null where there is a ``reason``."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None
