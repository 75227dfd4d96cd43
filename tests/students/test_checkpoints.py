"""Checkpoints in every wrapper load; what is no checkpoint is named for what it is."""

import argparse
import io
import pickle
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image
from torch import Tensor, nn

from mobilekd.students.checkpoint import read_state
from mobilekd.support.errors import UserError
from mobilekd.teachers.network import load_matching

State = dict[str, Tensor]


def network() -> nn.Module:
    return nn.Sequential(
        OrderedDict(
            stem=nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),
            neck=nn.Conv2d(4, 6, 1),
            head=nn.Linear(6, 5),
        )
    )


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def zeros(state: State) -> State:
    return {name: torch.zeros_like(value) for name, value in state.items()}


class Attributes(dict):  # type: ignore[type-arg]
    """As Lightning keeps hyperparameters: a class that no reader of tensors knows."""


WRAPPERS: dict[str, Callable[[State], Any]] = {
    "a state dict": lambda s: s,
    "parameters": lambda s: {
        name: nn.Parameter(value) if value.is_floating_point() else value
        for name, value in s.items()
    },
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "model": lambda s: {"model": s, "lr_scheduler": {"last_epoch": 3}},
    "model_state_dict": lambda s: {
        "epoch": 7,
        "model_state_dict": s,
        "optimizer_state_dict": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": []},
        "loss": torch.tensor(0.3),
    },
    "state_dict_ema before state_dict": lambda s: {"state_dict": zeros(s), "state_dict_ema": s},
    "model_ema before model": lambda s: {"model": zeros(s), "model_ema": s},
    "model, state_dict": lambda s: {"model": {"state_dict": s}},
    "net": lambda s: {"net": s, "acc": 91.2},
    "DataParallel": lambda s: under("module.", s),
    "torch.compile": lambda s: under("_orig_mod.", s),
    "DataParallel around torch.compile": lambda s: under("module._orig_mod.", s),
    "torch.compile around DataParallel": lambda s: under("_orig_mod.module.", s),
    "an averaged model": lambda s: {"n_averaged": torch.tensor(9), **under("module.", s)},
    "Lightning": lambda s: {
        "state_dict": {**under("model.", s), "criterion.weight": torch.ones(5)},
        "hyper_parameters": Attributes(lr=0.1),
        "pytorch-lightning_version": "2.5.0",
        "callbacks": {},
    },
    "Lightning around torch.compile": lambda s: {
        "state_dict": {**under("model._orig_mod.", s), "criterion.weight": torch.ones(5)}
    },
    "Lightning, network": lambda s: {"state_dict": under("network.", s)},
    "timm's train script": lambda s: {
        "epoch": 99,
        "arch": "resnet18",
        "state_dict": under("module.", zeros(s)),
        "state_dict_ema": under("module.", s),
        "optimizer": {"state": {}, "param_groups": []},
        "version": 2,
        "args": argparse.Namespace(model="resnet18", lr=0.1),
        "amp_scaler": {"scale": 65536.0},
        "metric": np.float64(77.1),
    },
    "torchvision's train script": lambda s: {
        "model": s,
        "args": argparse.Namespace(model="resnet18", output_dir=Path("out")),
        "epoch": 89,
    },
    "DINO": lambda s: {
        "teacher": {**under("backbone.", s), "head.mlp.0.weight": torch.ones(2, 2)},
        "epoch": 1,
    },
    "backbone. beside its head": lambda s: {
        name if name.startswith("head.") else f"backbone.{name}": value for name, value in s.items()
    },
    "mmpretrain": lambda s: {
        "meta": {"epoch": 3},
        "state_dict": under("backbone.", s),
        "message_hub": Attributes(a=1),
    },
    "Composer": lambda s: {"state": {"model": s, "optimizers": {}}, "rng": []},
    "a key of somebody's own": lambda s: {"best_weights": s, "epoch": 3},
    "a key of somebody's own beside an optimiser": lambda s: {
        "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}},
        "generator_state_dict": s,
    },
    "words among tensors": lambda s: {**s, "version": "1.0", "_extra_state": None},
    "mmengine's averaged": lambda s: {
        "state_dict": zeros(s),
        "ema_state_dict": {**under("module.", s), "steps": torch.tensor(3)},
    },
    "Lightning's teacher before its student": lambda s: {
        "state_dict": {**under("student.", zeros(s)), **under("teacher.", s)}
    },
    "Lightning's averaged before its own": lambda s: {
        "state_dict": {**under("model.", zeros(s)), **under("ema_model.module.", s)}
    },
    "six wrappers": lambda s: under("a.b.encoder.module._orig_mod.model.", s),
    "numpy arrays": lambda s: {name: value.numpy() for name, value in s.items()},
    "numpy arrays in a dictionary": lambda s: {
        "model": {name: value.numpy() for name, value in s.items()},
        "__author__": "x",
    },
    "sparse": lambda s: {
        name: value.to_sparse() if value.ndim == 2 else value for name, value in s.items()
    },
    "half precision": lambda s: {
        name: value.half() if value.is_floating_point() else value for name, value in s.items()
    },
}


def known() -> nn.Module:
    """A network whose numbers are whole, so that half precision keeps them."""
    made = network()
    with torch.no_grad():
        for index, value in enumerate(made.state_dict().values()):
            value.fill_(index + 2)
    return made


def assert_loads(path: Path) -> None:
    fresh = network()
    load_matching(fresh, path)
    wanted = known().state_dict()
    for name, value in fresh.state_dict().items():
        torch.testing.assert_close(value, wanted[name], msg=name)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_checkpoint_loads_from_every_wrapper(wrapper: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save(WRAPPERS[wrapper](known().state_dict()), path)
    assert_loads(path)


def test_a_checkpoint_loads_from_other_files(tmp_path: Path) -> None:
    state = known().state_dict()
    torch.save(state, tmp_path / "old.pth.tar", _use_new_zipfile_serialization=False)
    assert_loads(tmp_path / "old.pth.tar")
    legacy = {"state_dict": under("module.", state), "args": argparse.Namespace(a=1)}
    torch.save(legacy, tmp_path / "older.pth.tar", _use_new_zipfile_serialization=False)
    assert_loads(tmp_path / "older.pth.tar")
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    assert_loads(tmp_path / "model.safetensors")
    safetensors.torch.save_file(under("model.", state), tmp_path / "model.bin")
    assert_loads(tmp_path / "model.bin")
    for protocol in (2, 4):
        arrays = {"model": {name: value.numpy() for name, value in state.items()}}
        (tmp_path / "zoo.pkl").write_bytes(pickle.dumps(arrays, protocol))
        assert_loads(tmp_path / "zoo.pkl")


def test_which_of_two_networks_was_taken_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = known().state_dict()
    torch.save({**under("one.", state), **under("two.", zeros(state))}, tmp_path / "c.pth")
    assert_loads(tmp_path / "c.pth")
    said = capsys.readouterr().err
    assert "c.pth: holds several networks that fit; one. was taken, not two." in said


def test_a_part_of_a_checkpoint_and_another_network_are_told_apart(tmp_path: Path) -> None:
    state = known().state_dict()
    part = {name: state[name] for name in list(state)[:3]}
    torch.save(part, tmp_path / "model-00001-of-00002.bin")
    with pytest.raises(UserError, match=r"3 of 11 tensors fit.*a part of a checkpoint.*join"):
        load_matching(network(), tmp_path / "model-00001-of-00002.bin")
    torch.save(under("vit_", state), tmp_path / "c.pth")
    with pytest.raises(UserError, match=r"another network's .*vit_stem.0.weig.*one stem.0.weig"):
        load_matching(network(), tmp_path / "c.pth")
    torch.save({**state, "neck.bias": torch.full((6,), torch.nan)}, tmp_path / "c.pth")
    with pytest.raises(UserError, match=r"c.pth: neck.bias holds numbers that are not finite"):
        load_matching(network(), tmp_path / "c.pth")


def test_what_was_stripped_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.pth"
    torch.save(WRAPPERS["timm's train script"](known().state_dict()), path)
    load_matching(network(), path)
    said = capsys.readouterr().err
    assert "c.pth: weights taken from its state_dict_ema" in said
    assert "c.pth: module. stripped from its names" in said


def test_a_position_embedding_of_another_size_is_resampled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    big, small = (timm.create_model("test_vit", img_size=size) for size in (160, 96))
    torch.save({"model": under("module.", big.state_dict())}, tmp_path / "vit.pth")
    before = small.pos_embed.clone()
    assert big.pos_embed.shape != before.shape
    load_matching(small, tmp_path / "vit.pth")
    assert "resampled by timm: pos_embed" in capsys.readouterr().err
    assert not torch.equal(small.pos_embed, before)
    assert torch.equal(small.blocks[0].attn.qkv.weight, big.blocks[0].attn.qkv.weight)


def test_a_layer_of_another_shape_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = {**known().state_dict(), "head.weight": torch.ones(1000, 6)}
    torch.save(state, tmp_path / "c.pth")
    load_matching(network(), tmp_path / "c.pth")
    assert "of another shape: head.weight ((1000, 6) there, (5, 6) here)" in capsys.readouterr().err


def zipped(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/").replace("_DOT_", "."), text)
    return buffer.getvalue()


def saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, kind)
    return buffer.getvalue()


def array() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(2))
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("m.pth"))
    return buffer.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"

OTHERS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "a whole model": ("m.pth", lambda: saved(network()), r"whole pickled model \(torch.nn"),
    "a whole model in a checkpoint": (
        "m.pth",
        lambda: saved({"model": network(), "epoch": 2}),
        r"whole pickled model under model",
    ),
    "TorchScript": (
        "m.pt",
        lambda: zipped(m__data_DOT_pkl="x", m__code____torch___DOT_py="x", m__version="3"),
        "TorchScript",
    ),
    "a git-lfs pointer": ("m.safetensors", lambda: LFS, "git-lfs pointer.*git lfs pull"),
    "a web page": ("m.pth", lambda: b"\n<!DOCTYPE html><html>Sign in</html>", "web page"),
    "a zip": ("m.pth", lambda: zipped(weights_DOT_pth="x", readme="y"), "zip archive.*weights.pth"),
    "a PNG": ("m.pth", lambda: picture("PNG"), "an image .PNG"),
    "a JPEG": ("m.safetensors", lambda: picture("JPEG"), "an image .JPEG"),
    "an empty file": ("m.pth", lambda: b"", "empty file"),
    "JSON": ("config.json", lambda: b'{"architecture": "resnet18"}', "text file .JSON"),
    "a text": ("m.pth", lambda: b"epoch 1 loss 0.3\n", "text file .'epoch 1"),
    "an exported program": ("m.pt2", lambda: zipped(m__archive_format="pt2"), r"\.pt2"),
    "numpy arrays": ("m.pth", array, "numpy archive"),
    "Keras": ("m.h5", lambda: b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
    "an ExecuTorch program": ("m.pth", lambda: b"\x1c\0\0\0ET12" + bytes(64), "ExecuTorch"),
    "ONNX": ("m.onnx", lambda: b"\x08\x0a\x12\x07pytorch" + bytes(8), "ONNX network"),
    "ONNX under another name": (
        "m.pth",
        lambda: b"\x08\x08\x12\x07pytorch\x1a\x032.5" + bytes(8),
        "is an ONNX network",
    ),
    "a graph of TensorFlow": ("saved_model.pb", lambda: b"\x08\x01\x12\xf7", "TensorFlow; convert"),
    "a checkpoint of Flax": ("flax_model.msgpack", lambda: b"\x81\xa6params", "Flax; convert"),
    "a tar archive": ("m.pth.tar", tarred, "is a tar archive; unpack it"),
    "an index of parts": (
        "model.safetensors.index.json",
        lambda: b'{"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}',
        "index of a checkpoint in several files; join those",
    ),
    "a pickle of tensors": (
        "m.pkl",
        lambda: pickle.dumps(dict(network().state_dict())),
        "a pickle of tensors.*torch.save",
    ),
    "two networks": (
        "m.pth",
        lambda: saved({"left": network().state_dict(), "right": network().state_dict()}),
        r"several state dicts \(left, right\); save the one",
    ),
    "another program's file": ("m.pth", lambda: bytes(range(256)), "or, where another program wro"),
    "a gzip archive": ("m.tar.gz", lambda: b"\x1f\x8b\x08\0" + bytes(30), "gzip archive"),
    "a list": ("m.pth", lambda: saved([torch.ones(2)]), "holds a list"),
    "an optimiser's state": (
        "m.pth",
        lambda: saved({"optimizer": {"state": {}}, "epoch": 3}),
        "no state dict .its keys: optimizer, epoch",
    ),
    "a cut file": ("m.pth", lambda: saved(network().state_dict())[:400], "not a readable weights"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_is_no_checkpoint_is_named(what: str, tmp_path: Path) -> None:
    name, content, said = OTHERS[what]
    (tmp_path / name).write_bytes(content())
    with pytest.raises(UserError, match=said):
        read_state(tmp_path / name)


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "was_run",))

    torch.save({"state_dict": known().state_dict(), "args": Payload()}, tmp_path / "c.pth")
    assert_loads(tmp_path / "c.pth")
    assert not (tmp_path / "was_run").exists()
