"""Weights files as people have them: the one reader of tensors. Nothing in a file is executed.

A checkpoint is unwrapped by itself, whatever trainer wrote it, and says what was stripped; a file
that is no checkpoint is named for what it is.
"""

import pickle
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from mobilekd.support.errors import UserError
from mobilekd.support.progress import say

#: Keys under which trainers keep a network's tensors, the averaged ones first: that is what their
#: authors judge.
CONTAINERS = (
    "state_dict_ema",
    "model_ema",
    "ema_model",
    "ema_state_dict",
    "ema",
    "averaged_model",
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "backbone",
    "teacher",
    "student",
    "params_ema",
    "params",
    "weights",
    "model_weights",
)

#: How files begin that are no checkpoint, and what to call them.
BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a git-lfs pointer, not the file itself; run git lfs pull"),
    (b"\x89PNG", "an image (PNG)"),
    (b"\xff\xd8\xff", "an image (JPEG)"),
    (b"GIF8", "an image (GIF)"),
    (b"II*\0", "an image (TIFF)"),
    (b"MM\0*", "an image (TIFF)"),
    (b"BM", "an image (BMP)"),
    (b"\x89HDF", "an HDF5 file, as Keras writes them; convert it to a state dict"),
    (b"GGUF", "a GGUF language model"),
    (b"%PDF", "a PDF"),
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"BZh", "a bzip2 archive; unpack it"),
    (b"\xfd7zXZ", "an xz archive; unpack it"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it"),
    (b"Rar!", "a rar archive; unpack it"),
    (b"\x93NUMPY", "a numpy array"),
)
#: What may stand at byte 4 of a flat file.
FLAT = {b"ET": "an ExecuTorch program (.pte)", b"TFL3": "a LiteRT model (.tflite)"}

#: Programs' own files by how they end, which begin in no way that tells.
ENDS = {
    ".onnx": "an ONNX network, not a set of weights",
    ".msgpack": "a checkpoint of Flax; convert it to a state dict",
    ".pb": "a graph of TensorFlow; convert it to a state dict",
    ".mlmodel": "a Core ML model",
    ".pdparams": "a checkpoint of Paddle; convert it to a state dict",
}

#: Wrappers around each other that are taken off.
MOST_WRAPPERS = 8

#: How ``torch.save`` began a file before it wrote archives, after a pickle's first two bytes.
LEGACY = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"

NO_WEIGHTS = "give a state dict (model.state_dict(), as .safetensors or .pth)"


def read_state(path: Path, *, unwrap: bool = True) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` or torch file by name, taken out of what a trainer wrote
    around them.

    Prefixes stay: ``fitted`` strips them, since only the network tells which. A file that is no
    checkpoint is a ``UserError`` that says what it is.
    """
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:
        raise UserError(
            f"{path}: no such weights file, or none that you may read; check the recipe's"
            " weights key, or write hub"
        ) from None
    other = _what_it_is(path, start)
    if other:
        raise UserError(f"{path}: {other}; {NO_WEIGHTS}")
    if path.suffix == ".safetensors" or _is_safetensors(start):
        if path.suffix != ".safetensors":
            say(f"{path.name}: safetensors, whatever its name says")
        try:
            state: Any = safetensors.torch.load_file(path)
        except Exception as error:  # safetensors raises several types for a damaged file
            raise _broken(path, error) from None
    else:
        state = _tensors(_plain(path) if _is_plain(start) else _unpickled(path))
    taken = []
    while unwrap and isinstance(state, Mapping) and not _is_state(state):
        key = _container(path, state)
        if key is None:
            break
        taken.append(key)
        state = state[key]
    if not isinstance(state, Mapping) or not _is_state(state):
        raise _no_state(path, state)
    if taken:
        say(f"{path.name}: weights taken from its {'.'.join(taken)}")
    return {str(name): _dense(value) for name, value in state.items() if isinstance(value, Tensor)}


def _container(path: Path, state: Mapping[Any, Any]) -> Any:
    """The key of what a trainer wrote under which the tensors lie: a usual one, else the only one;
    None where there is none.
    """
    usual = next((key for key in CONTAINERS if _holds_tensors(state.get(key))), None)
    if usual is not None:
        return usual
    others = [
        key
        for key, value in state.items()
        if isinstance(key, str) and not _is_optimisers(key) and _holds_tensors(value)
    ]
    if len(others) > 1:
        raise UserError(
            f"{path}: holds several state dicts ({_some(others)}); save the one meant alone"
        )
    return others[0] if others else None


def fitted(path: Path, state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """``state`` under the names of ``model``: prefixes of wrappers (``module.``, ``_orig_mod.``,
    ``model.``, ``backbone.``) stripped, and resampled by timm's own filter of the network, where
    there is one. Says what was stripped.
    """
    convert = _timm_filter(model)
    own = model.state_dict()
    current, stripped = dict(state), []
    while True:
        better = _without_prefix(current, own)
        if better is None:
            break
        stripped.append(better.prefix)
        current = better.state
        if better.others:
            say(
                f"{path.name}: holds several networks that fit; {better.prefix} was taken, not"
                f" {', '.join(better.others)}"
            )
    if stripped:
        say(f"{path.name}: {', '.join(stripped)} stripped from its names")
    for name, value in current.items():
        if name in own and value.is_floating_point() and not value.isfinite().all():
            raise UserError(
                f"{path}: {name} holds numbers that are not finite; take an earlier checkpoint"
            )
    if convert is not None and not _all_fit(current, own):
        try:
            converted = dict(convert(dict(current), model))
        except Exception as error:  # filters expect files of their own kind
            say(f"{path.name}: timm's filter for it failed ({type(error).__name__}: {error})")
        else:
            changed = [
                name
                for name, value in converted.items()
                if name in current and current[name].shape != value.shape
            ]
            if changed:
                say(f"{path.name}: resampled by timm: {_some(changed)}")
            if _matches(converted, own) >= _matches(current, own):
                current = converted
    return current


def _timm_filter(model: nn.Module) -> Callable[..., Mapping[str, Tensor]] | None:
    """What timm does to checkpoints of this family before it loads them."""
    for kind in type(model).__mro__:
        if kind.__module__.startswith("timm."):
            found: Callable[..., Mapping[str, Tensor]] | None = getattr(
                sys.modules[kind.__module__], "checkpoint_filter_fn", None
            )
            if found is not None:
                return found
    return None


def misfits(state: Mapping[str, Tensor], model: nn.Module) -> list[str]:
    """Tensors of ``model`` that a state has in another shape, with both shapes."""
    return [
        f"{name} ({tuple(state[name].shape)} there, {tuple(value.shape)} here)"
        for name, value in model.state_dict().items()
        if name in state and state[name].shape != value.shape
    ]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _matches(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> int:
    return sum(name in own and own[name].shape == value.shape for name, value in state.items())


def _all_fit(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    return _matches(state, own) == len(own)


@dataclass(frozen=True)
class _Stripped:
    """A state without the first part of its names."""

    prefix: str
    state: dict[str, Tensor]
    fits: int  # tensors that the network knows once all of its wrappers are off
    others: tuple[str, ...] = ()  # prefixes under which as many fit


def _without_prefix(
    state: dict[str, Tensor], own: Mapping[str, Tensor], depth: int = MOST_WRAPPERS
) -> _Stripped | None:
    """The first part of names that, taken off, lets most tensors fit; None where none helps. Of
    several alike an averaged network's is taken (:data:`CONTAINERS`).

    Names without it stay, as a classifier beside ``backbone.`` does. Of wrappers around each other
    nothing fits until all are off.
    """
    known = _known(state, own)
    found = []
    for prefix in dict.fromkeys(f"{name.partition('.')[0]}." for name in state if "." in name):
        tried = {name.removeprefix(prefix): value for name, value in state.items()}
        fits = _known(tried, own)
        if fits > known:
            found.append(_Stripped(prefix, tried, fits))
        elif not known and depth > 1:
            inside = {
                name.removeprefix(prefix): value
                for name, value in state.items()
                if name.startswith(prefix)
            }
            deeper = _without_prefix(inside, own, depth - 1)
            if deeper is not None:
                found.append(_Stripped(prefix, inside, deeper.fits))
    most = max((each.fits for each in found), default=0)
    alike = sorted(
        (each for each in found if each.fits == most), key=lambda each: _rank(each.prefix)
    )
    if not alike:
        return None
    return replace(alike[0], others=tuple(each.prefix for each in alike[1:]))


def _rank(prefix: str) -> int:
    name = prefix.removesuffix(".")
    return CONTAINERS.index(name) if name in CONTAINERS else len(CONTAINERS)


def _known(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> int:
    return sum(name in own for name in state)


def what_it_is(path: Path) -> str:
    """What a file is that cannot be a checkpoint, by how it begins; empty where it may be one, or
    cannot be read.
    """
    try:
        with path.open("rb") as file:
            return _what_it_is(path, file.read(512))
    except OSError:
        return ""


def _what_it_is(path: Path, start: bytes) -> str:
    if not start:
        return "is an empty file"
    for beginning, name in BEGINNINGS:
        if start.startswith(beginning):
            return f"is {name}"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "is an image (WebP)"
    for mark, name in FLAT.items():
        if start[4:8].startswith(mark):
            return f"is {name}"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return "is a web page, so the download got an answer and not the file"
    if text.startswith((b"{", b"[")) and not _is_safetensors(start):
        if path.name.endswith(".index.json") or b'"weight_map"' in start:
            return "is the index of a checkpoint in several files; join those that it names"
        return "is a text file (JSON)"
    if start.startswith(b"PK"):
        return _what_zip(path)
    if start[257:262] == b"ustar":
        return "is a tar archive; unpack it"
    if path.suffix in ENDS:
        return f"is {ENDS[path.suffix]}"
    if _is_onnx(start):
        return f"is {ENDS['.onnx']}"
    try:
        readable = start.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    if all(one.isprintable() or one.isspace() for one in readable):
        return f"is a text file ({' '.join(readable.split())[:40]!r})"
    return ""


def _what_zip(path: Path) -> str:
    """A torch file is a zip archive; what other archives are."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return ""  # torch says what is broken
    ends = {name.rpartition("/")[2] for name in names}
    if any("/code/" in f"/{name}" for name in names) and "data.pkl" in ends:
        return (
            "is TorchScript, a program with its weights; load it where it came from with"
            " torch.jit.load and save its state_dict()"
        )
    if "archive_format" in ends or "serialized_exported_program.json" in ends:
        return "is a .pt2, an exported program and no set of weights"
    if "data.pkl" in ends:
        return ""
    if any(name.endswith(".npy") for name in names):
        return "is a numpy archive (.npz)"
    if any(name.endswith(".keras") or name == "model.weights.h5" for name in names):
        return "is a Keras file"
    return f"is a zip archive ({_some(names) or 'empty'}); unpack it"


def _is_safetensors(start: bytes) -> bool:
    """Eight bytes of length, then JSON."""
    length = int.from_bytes(start[:8], "little")
    return len(start) > 9 and start[8:9] == b"{" and 2 <= length < 100_000_000


def _is_onnx(start: bytes) -> bool:
    """A protobuf whose first field is a version from 3 on, followed by a producer, a graph or a
    set of operators.
    """
    return len(start) > 2 and start[0] == 8 and 3 <= start[1] < 32 and start[2] in b"\x12\x3a\x42"


def _broken(path: Path, error: BaseException) -> UserError:
    return UserError(
        f"{path}: not a readable weights file ({type(error).__name__}); fetch it again, or, where"
        " another program wrote it, convert it to a state dict"
    )


class _Inert:
    """Stands for an object of a class that is not opened: it keeps its name, and runs nothing."""

    kind = ""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, _item: Any) -> None:
        """A list's items are not looked at."""

    def extend(self, _items: Any) -> None:
        """A list's items are not looked at."""

    def __setitem__(self, _key: Any, _value: Any) -> None:
        """A dictionary's items are not looked at."""

    def __call__(self, *_arguments: Any, **_options: Any) -> "_Inert":
        return self

    def __hash__(self) -> int:
        return id(self)


#: What a state dict is made of; every other class stays shut.
_TENSORS = {
    "_rebuild_tensor",
    "_rebuild_tensor_v2",
    "_rebuild_tensor_v3",
    "_rebuild_parameter",
}


#: What numpy's arrays and the usual dictionary are made of.
_PLAIN = {
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
}


class _Shut(pickle.Unpickler):
    """Opens tensors, numpy's arrays and plain Python values; of all else only the name."""

    def find_class(self, module: str, name: str) -> Any:
        """A class of torch's tensors or of :data:`_PLAIN`, or an inert stand-in."""
        if (module, name) in _PLAIN:
            return super().find_class(module, name)
        if module == "torch._utils" and name in _TENSORS:
            return super().find_class(module, name)
        if module == "torch" and (
            name in ("Size", "device") or isinstance(getattr(torch, name, None), torch.dtype)
        ):
            return super().find_class(module, name)
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            return super().find_class(module, name)
        return type(name, (_Inert,), {"kind": f"{module}.{name}"})


def _unpickled(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        pass  # a class that is no tensor's: shut it
    except Exception as error:  # torch raises a dozen types for a damaged file
        raise _broken(path, error) from None
    shut = SimpleNamespace(
        Unpickler=_Shut,
        UnpicklingError=pickle.UnpicklingError,
        load=lambda file, **options: _Shut(file, **options).load(),
        __name__="pickle",
    )
    try:
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=shut)
    except Exception as error:  # torch raises a dozen types for a damaged file
        raise _broken(path, error) from None


def _dense(value: Tensor) -> Tensor:
    """A tensor of numbers, one beside the other, whatever it was saved as."""
    if value.is_quantized:
        return value.dequantize()
    return value if value.layout is torch.strided else value.to_dense()


def _is_plain(start: bytes) -> bool:
    """Whether a file was written by pickle alone, and not by ``torch.save``."""
    return (
        start[:1] == b"\x80"
        and start[1:2] in b"\x02\x03\x04\x05"
        and not (start[2:].startswith(LEGACY))
    )


def _plain(path: Path) -> Any:
    """What a plain pickle holds; arrays of numpy are opened, torch's own tensors cannot be."""
    try:
        with path.open("rb") as file:
            return _Shut(file).load()
    except Exception as error:  # pickle raises a dozen types for a damaged file
        with path.open("rb") as file:
            if b"torch" not in file.read(4096):
                raise _broken(path, error) from None
        raise UserError(
            f"{path}: is a pickle of tensors, which is code and is not run here; load it where it"
            " came from with pickle, and write its state dict with torch.save"
        ) from None


def _tensors(value: Any, depth: int = MOST_WRAPPERS) -> Any:
    """``value`` with numpy's arrays of numbers as tensors, ``depth`` dictionaries deep."""
    if isinstance(value, Mapping) and depth:
        return {key: _tensors(each, depth - 1) for key, each in value.items()}
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return torch.from_numpy(np.array(value, value.dtype.newbyteorder("="), order="C"))
    return value


def _is_state(value: Mapping[Any, Any]) -> bool:
    """Tensors by name; a number or word among them (a step count, a version) does no harm."""
    return any(isinstance(each, Tensor) for each in value.values()) and all(
        isinstance(each, (Tensor, int, float, str, bytes, type(None))) for each in value.values()
    )


def _holds_tensors(value: Any, depth: int = MOST_WRAPPERS) -> bool:
    """Whether a state lies in ``value``, at most ``depth`` dictionaries deep; what an optimiser
    keeps is none.
    """
    if not isinstance(value, Mapping) or not depth:
        return False
    return _is_state(value) or any(
        _holds_tensors(each, depth - 1)
        for key, each in value.items()
        if isinstance(key, str) and not _is_optimisers(key)
    )


def _is_optimisers(key: str) -> bool:
    return key == "opt" or "optim" in key.lower()


def _no_state(path: Path, value: Any) -> UserError:
    if isinstance(value, _Inert):
        return UserError(
            f"{path}: is a whole pickled model ({value.kind}), which is code and is not run here;"
            " load it where it came from and save model.state_dict()"
        )
    if isinstance(value, Mapping):
        whole = [f"{key} ({each.kind})" for key, each in value.items() if isinstance(each, _Inert)]
        inside = [key for key in CONTAINERS if isinstance(value.get(key), _Inert)]
        if inside:
            return UserError(
                f"{path}: holds a whole pickled model under {inside[0]} ({value[inside[0]].kind}),"
                " which is code and is not run here; load it where it came from and save"
                " model.state_dict()"
            )
        keys = ", ".join(map(str, list(value)[:5])) or "nothing"
        what = f"whole objects: {', '.join(whole[:2])}; " if whole else ""
        return UserError(
            f"{path}: holds no state dict ({what}its keys: {keys}); save model.state_dict()"
        )
    return UserError(
        f"{path}: holds a {type(value).__name__}, no state dict; save model.state_dict()"
    )
