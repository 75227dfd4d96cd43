"""What a recipe's weights key stands for, hubs, and what a student keeps of its weights."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from mobilekd.formats.runs import open_run
from mobilekd.students.hub import fetch_failure, hub_or_cache
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_file
from mobilekd.support.progress import say

#: Before the name of a shipped student whose weights a student may start from.
REFERENCE = "reference:"


def weights_hash(weights: str | None) -> str | None:
    """What a recipe's weights key stands for: the hash of its file, ``hub``, or None where nothing
    is loaded (an empty key, too).
    """
    if not weights or weights == "hub":
        return weights or None
    if weights.startswith(REFERENCE):
        return sha256_file(open_run(weights).weights)
    check_weights(weights)
    return sha256_file(Path(weights))


def check_weights(weights: str | None) -> None:
    """A ``UserError`` unless a recipe's weights key is empty, ``hub`` or a file."""
    if weights and weights != "hub" and Path(weights).is_dir():
        raise UserError(f"{weights}: a folder; name the weights file in it")
    if weights and weights != "hub" and not Path(weights).is_file():
        raise UserError(
            f"{weights}: no such weights file, or none that you may read; check the recipe's"
            " weights key, or write hub"
        )


def hub_state(name: str) -> dict[str, Tensor]:
    """Pretrained weights of a timm model from its hub."""
    import timm

    try:
        with hub_or_cache():
            return timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # no network, no such file, a proxy's answer: one remedy
        raise UserError(
            f"student.weights hub: {name} cannot be fetched ({fetch_failure(error)}); connect this"
            " machine to the network once, or give a file: --set student.weights=FILE"
        ) from None


def keep_what_fits(
    model: nn.Module,
    state: Mapping[str, Tensor],
    source: str,
    *,
    head: str = "classifier",
    same_classes: bool = False,
) -> list[str]:
    """Load every entry whose name and shape match. Says and returns what stays random.

    A classifier, the layer ``head``, is left fresh even where it fits, because another data set's
    seven classes are not these seven; ``same_classes`` says that they are.
    """
    own = model.state_dict()
    kept = {
        name: value
        for name, value in state.items()
        if name in own
        and own[name].shape == value.shape
        and (same_classes or not name.startswith(f"{head}."))
    }
    if not any(name.endswith("weight") for name in kept):
        raise UserError(
            f"{source}: no tensor fits the student by name and shape; choose weights of the same"
            " family and width"
        )
    model.load_state_dict(kept, strict=False)
    fresh = [name for name in own if name not in kept and not name.endswith("num_batches_tracked")]
    share = sum(own[name].numel() for name in kept) / sum(value.numel() for value in own.values())
    unused = sum(name not in kept for name in state)
    layers = sorted({name.rpartition(".")[0] for name in fresh})
    shown = ", ".join(layers[:4]) + (f" and {len(layers) - 4} more" if len(layers) > 4 else "")
    say(
        f"student weights from {source}: {len(kept)} tensors kept ({share:.0%} of the values),"
        f" {unused} unused; fresh: {shown or 'nothing'}"
    )
    return fresh
