"""Every metric, from the registry."""

import inspect

from making.markdown import page, table


def metrics_page() -> str:
    """Every metric of ``metrics.json``."""
    from mobilekd.metrics.registry import DEFINITIONS

    rows = [(f"`{one.key}`", one.meaning, one.unit, one.better, one.source) for one in DEFINITIONS]
    return page(
        "Metrics",
        "`evaluate` writes these into `metrics.json`, each with its 95% interval. `GROUP` is"
        " `melanoma` or `malignant` (melanoma, basal cell carcinoma and actinic keratosis).",
        table(("Metric", "Definition", "Unit", "Better", "Elsewhere"), rows),
        "## Intervals\n\n" + _intervals(),
    )


def _intervals() -> str:
    import mobilekd.metrics as metrics

    paragraphs = (inspect.getdoc(metrics) or "").split("\n\n")
    return (
        " ".join(paragraphs[1].split())
        + " There are 1000 draws. A figure that cannot be computed is null and carries its reason."
        " Seeds are pooled with a spread of their own; see"
        " [how a number comes about](../explanation/numbers.md)."
    )
