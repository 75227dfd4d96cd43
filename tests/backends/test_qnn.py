"""The backend for Hexagon as far as it goes without Qualcomm's libraries: chips, refusals, what a
manifest says, and the function that moves a device's setting.
"""

import copy
import ctypes
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mobilekd.backends import for_soc, get
from mobilekd.backends.shared import htp
from mobilekd.commands import doctor
from mobilekd.formats.artifact import Manifest
from mobilekd.formats.chip import Chip
from mobilekd.formats.runs import DEFAULT_REFERENCE, open_run
from mobilekd.graphs import torch_graph
from mobilekd.lowering import quantize
from mobilekd.lowering.pipeline import guard_inside
from mobilekd.lowering.prepare import frozen_key
from mobilekd.lowering.quantize import read_frozen
from mobilekd.lowering.record import read_record, record_key
from mobilekd.lowering.request import check_words
from mobilekd.support.errors import UserError


@pytest.fixture
def absent(monkeypatch):
    """A machine that could have the libraries and has not."""
    monkeypatch.delenv("QNN_SDK_ROOT", raising=False)
    monkeypatch.setattr(htp, "PACKAGE", "no_such_package")
    monkeypatch.setattr(htp.sys, "platform", "linux")
    monkeypatch.setattr(htp.platform, "machine", lambda: "x86_64")


def test_chips_are_those_of_executorch():
    from executorch.backends.qualcomm.serialization.qc_schema import QcomChipset, _soc_info_table

    for soc, (_, architecture) in htp.CHIPS.items():
        assert _soc_info_table[getattr(QcomChipset, soc)].htp_info.htp_arch == architecture


def test_a_chip_is_chosen_and_the_default_stays():
    backend = get("qnn")
    assert for_soc(backend, None) is backend
    assert for_soc(backend, "sm8550").soc == "SM8550"
    assert backend.soc == "SM8650" == backend.socs[0]


def test_an_unknown_chip_names_its_neighbour():
    with pytest.raises(UserError, match="did you mean SM8650"):
        check_words("qnn", "w8a16", soc="SM8651")


def test_other_backends_have_no_chip():
    with pytest.raises(UserError, match="xnnpack has no chip to choose"):
        check_words("xnnpack", "fp32", soc="SM8650")


@pytest.mark.usefixtures("absent")
def test_without_the_libraries_one_line_names_the_remedy():
    with pytest.raises(UserError) as refusal:
        check_words("qnn", "w8a16")
    assert str(refusal.value) == (
        "--backend qnn: Qualcomm's host libraries are not installed; pip install 'mobilekd[qnn]',"
        " or name your own SDK's folder in QNN_SDK_ROOT"
    )


@pytest.mark.usefixtures("absent")
def test_an_sdk_of_the_user_goes_first_and_must_hold_the_libraries(monkeypatch, tmp_path):
    monkeypatch.setenv("QNN_SDK_ROOT", str(tmp_path))
    with pytest.raises(UserError, match=r"libQnnHtp\.so: missing; pip install"):
        check_words("qnn", "w8a16")
    library = tmp_path / htp.HOST / htp.LIBRARY
    library.parent.mkdir(parents=True)
    library.write_bytes(b"\0" * 100 + b"v2.37.0.250724175447\0")
    assert htp.find() == htp.Libraries(library.parent, "QNN_SDK_ROOT", "2.37.0")
    assert get("qnn").where() == "HTP simulator of QNN 2.37.0 (SM8650); no phone has answered"


@pytest.mark.usefixtures("absent")
def test_another_system_is_told_so(monkeypatch):
    monkeypatch.setattr(htp.platform, "machine", lambda: "arm64")
    with pytest.raises(UserError, match=r"are for Linux on x86-64, and this is .* on arm64"):
        check_words("qnn", "w8a16")


def test_fp16_needs_a_chip_that_computes_in_it():
    with pytest.raises(
        UserError, match=r"Snapdragon 888 \(Hexagon v68\) .* take --precision w8a16"
    ):
        check_words("qnn", "fp16", soc="SM8350")


def test_emulated_arm_cannot_answer_for_hexagon():
    with pytest.raises(UserError, match="emulated Arm processors have no runtime for qnn"):
        check_words("qnn", "w8a16", ("arm",))


@pytest.mark.parametrize(
    ("version", "fits"), [("2.37.0", True), ("2.51.0", True), ("2.45.1", False), ("unknown", False)]
)
def test_versions_whose_layout_nobody_knows_do_not_fit(version, fits):
    assert htp.known_to_fit(version) is fits


@pytest.mark.usefixtures("absent")
def test_doctor_names_what_is_missing():
    checks = {check.name: check for check in doctor.doctor()}
    host, phone = checks["Qualcomm's host libraries"], checks["Qualcomm's phone libraries"]
    assert (host.name, host.ok) == ("Qualcomm's host libraries", False)
    assert host.fix.startswith("pip install 'mobilekd[qnn]'")
    assert not phone.ok


def test_a_record_for_another_chip_has_a_key_of_its_own():
    assert record_key(get("qnn"), "w8a16") == "qnn-w8a16"
    assert record_key(for_soc(get("qnn"), "SM8550"), "w8a16") == "qnn-w8a16-SM8550"
    assert record_key(get("xnnpack"), "int8") == "xnnpack-int8"


def test_the_default_student_needs_no_photographs():
    """Its ranges are frozen, and what the simulator's answers decided is recorded."""
    run = open_run(f"reference:{DEFAULT_REFERENCE}")
    record = read_record(run.folder)[record_key(get("qnn"), "w8a16")]
    assert not record.refused
    assert {str(gate.name): gate.passed for gate in record.gates} == {
        "agreement": True,
        "balanced accuracy": True,
    }
    assert frozen_key(get("qnn"), "w8a16") in read_frozen(run.folder)


def test_the_manifest_has_the_chip_and_old_ones_have_none():
    assert Manifest.model_fields["chip"].default is None
    assert htp.chip("SM8650", "2.51.0") == Chip(soc="SM8650", architecture="v75", qnn="2.51.0")


def test_a_devices_setting_is_moved_and_the_rest_left_out():
    """As ExecuTorch 1.5 gives it: chip 57 right behind the setting's number, then PLATFORM_INFO."""
    custom = ctypes.create_string_buffer(struct.pack("<3I", 0, 57, 0), 12)
    first = ctypes.create_string_buffer(struct.pack("<IIQ", 0, 0, ctypes.addressof(custom)), 16)
    other = ctypes.create_string_buffer(struct.pack("<IIQ", 1, 0, 0), 16)
    given = (ctypes.c_void_p * 3)(ctypes.addressof(first), ctypes.addressof(other), None)
    seen = []

    def create(log, settings, device):
        for address in htp.addresses(settings):
            kind, _, inner = struct.unpack("<IIQ", ctypes.string_at(address, 16))
            seen.append((kind, struct.unpack("<4I", ctypes.string_at(inner, 16))))
        return 7

    assert htp.create_device(create, 1, ctypes.addressof(given), 2) == 7
    assert seen == [(0, (0, 0, 57, 0))]
    assert htp.create_device(create, 1, None, 2) == 7
    assert len(seen) == 1


def test_without_photographs_the_remedy_is_a_precision_that_the_backend_has(monkeypatch):
    import torch

    from mobilekd.lowering.prepare import prepare

    backend = get("qnn")
    stand_in = get("xnnpack").quantizer("int8", frozenset())  # needs none of Qualcomm's libraries
    monkeypatch.setattr(backend, "quantizer", lambda *_: stand_in)
    network = torch.nn.Conv2d(3, 4, 3).eval()
    network.cam = False
    recipe = SimpleNamespace(name="mine", quantize=SimpleNamespace(float_layers=()))
    with pytest.raises(UserError, match=r"or export --precision fp16$"):
        prepare(network, torch.zeros(1, 3, 8, 8), backend, "w8a16", recipe, None, None, Path())


def test_weights_are_observed_afresh_by_an_observer_that_looks_once():
    """ExecuTorch's for Hexagon: where it does not look again after a reset, weights are lost."""
    import numpy as np
    import torch
    from executorch.backends.qualcomm.quantizer.observers.per_channel_param_observer import (
        PerChannelParamObserver,
    )
    from torchao.quantization.pt2e import PerChannelMinMaxObserver

    from mobilekd.graphs import torch_graph
    from mobilekd.lowering import quantize

    torch.manual_seed(0)
    graph = torch_graph.capture(torch.nn.Conv2d(3, 4, 3).eval(), torch.zeros(1, 3, 8, 8))
    prepared = quantize.prepare(graph, get("xnnpack").quantizer("int8", frozenset()))
    swapped = 0
    for name, module in list(prepared.named_modules()):
        if isinstance(module, PerChannelMinMaxObserver):
            once = PerChannelParamObserver(
                dtype=module.dtype,
                qscheme=module.qscheme,
                quant_min=module.quant_min,
                quant_max=module.quant_max,
            )
            setattr(prepared, name, once)
            swapped += 1
    photographs = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), np.uint8)
    quantize.calibrate(prepared, photographs)
    with torch.no_grad():
        x = torch.from_numpy(photographs).float()
        wanted, given = graph(x), quantize.convert(prepared)(x)
    assert swapped == 1
    assert (given - wanted).abs().max() < 0.02 * wanted.abs().max()


class Joined(torch.nn.Module):
    """Two branches that are joined, as in a ShuffleNet."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.other = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.one(x), self.other(x)], 1).mean((2, 3))


def test_a_graph_that_joins_tensors_is_copied_with_its_observers():
    """Its observers know nodes of the graph; copying those ended in a RecursionError."""
    from mobilekd.backends.shared.qnn_quantizer import Concatenation, quantizer

    example = torch.zeros(1, 3, 8, 8)
    graph = torch_graph.capture(Joined().eval(), example)
    prepared = quantize.prepare(graph, quantizer("SM8650", "w8a16"))
    quantize.calibrate(prepared, np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), np.uint8))
    twin = copy.deepcopy(prepared)
    for one in (prepared, twin):
        [join] = [module for module in one.modules() if isinstance(module, Concatenation)]
        assert len(join.input_observers) == 2
        assert {id(module) for module in join.input_observers} <= set(map(id, one.modules()))
    [join] = [module for module in twin.modules() if isinstance(module, Concatenation)]
    [source] = [module for module in prepared.modules() if isinstance(module, Concatenation)]
    assert join.max_val == source.max_val


@pytest.mark.parametrize(("precision", "kept"), [("w8a16", False), ("w8a8", False), ("fp16", True)])
def test_a_file_in_whole_numbers_goes_without_the_guard_and_says_so(precision, kept):
    run = open_run("reference:dermoscopy-mobilenetv2-035")
    guard, notes = guard_inside(run, get("qnn"), precision, asked=False)
    assert (guard is not None) is kept
    assert bool(notes) is not kept
    assert kept or "fp16 and xnnpack can" in notes[0]
