"""Networks of timm and torchvision by name, as recipes spell them."""

import timm
import torchvision

from mobilekd.support.errors import UserError
from mobilekd.support.words import choices

#: What timm's own names begin with where it reads a network's description from elsewhere.
ELSEWHERE = ("hf-hub:", "hf_hub:", "local-dir:")


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
