"""Networks of timm and torchvision by name, as recipes spell them."""

from collections.abc import Sequence

import timm
import torchvision

from mobilekd.support.errors import UserError
from mobilekd.support.progress import say
from mobilekd.support.words import choices

#: What timm's own names begin with where it reads a network's description from elsewhere.
ELSEWHERE = ("hf-hub:", "hf_hub:", "local-dir:")

#: Means that differ by less are the same: one level of 255.
STEP = 1 / 255


def library_and_name(model: str) -> tuple[str, str]:
    """A recipe's model as library and that library's own name; timm's may hold a colon itself."""
    for library in ("torchvision", "timm"):
        if model.startswith(f"{library}:"):
            return library, model.removeprefix(f"{library}:")
    return "timm", model


def check_name(given: str, model: str) -> None:
    """A ``UserError`` where the library knows no such classifier; ``given`` is how messages call
    it.
    """
    library, name = library_and_name(model)
    if name.startswith(ELSEWHERE):
        return  # only trying tells
    if library == "torchvision":
        known, names = name in classifiers(), classifiers()
    else:
        known, names = timm.is_model(name), timm.list_models()
    if not known:
        raise UserError(f"{given}: not a {library} model; {choices(name, names)}")


def classifiers() -> list[str]:
    """torchvision's networks that classify images, by name."""
    return torchvision.models.list_models(module=torchvision.models)


def pretrained_statistics(
    model: str,
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation under which the library's own weights of a network were made;
    None where nobody knows.
    """
    library, name = library_and_name(model)
    if library == "torchvision":
        try:
            preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
        except (ValueError, AttributeError):
            return None
        mean, std = getattr(preset, "mean", None), getattr(preset, "std", None)
        return (tuple(mean), tuple(std)) if mean and std else None
    known = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return (known.mean, known.std) if known is not None and known.mean and known.std else None


def say_other_statistics(
    what: str, model: str, mean: Sequence[float], std: Sequence[float], remedy: str
) -> None:
    """Say so where pretrained weights are trained under another mean or deviation than they were
    made with.
    """
    own = pretrained_statistics(model)
    if own is None:
        return
    if max(abs(a - b) for a, b in zip((*mean, *std), (*own[0], *own[1]), strict=True)) > STEP:
        shown = [", ".join(f"{value:.3f}" for value in values) for values in (*own, mean, std)]
        say(
            f"{what}: weights of {model} are made with mean ({shown[0]}) and std ({shown[1]}), and"
            f" this recipe trains with mean ({shown[2]}) and std ({shown[3]}); {remedy}"
        )
