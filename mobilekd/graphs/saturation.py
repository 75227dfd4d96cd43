"""When int8 saturates where a clamp would clamp. No torch."""

import math


def saturates(
    low: float, high: float, step: float, zero_point: int, lowest: int, highest: int
) -> bool:
    """Whether levels ``lowest`` to ``highest`` of this step and zero point reach no further than
    ``low`` to ``high`` (infinite where there is no bound), so that a clamp before them is idle.
    """
    return (low == -math.inf or zero_point + round(low / step) <= lowest) and (
        high == math.inf or zero_point + round(high / step) >= highest
    )
