"""The shipped student's file for Hexagon, from a bare clone: accepted on recorded gates, its golden
set answered by the simulator, refused under another chip's name. Needs Qualcomm's libraries. Faults
planted on the way to the compiler are in ``tests/backends/test_qnn_simulator.py``.
"""

import shutil
from pathlib import Path

import pytest

from mobilekd.backends.shared import htp
from mobilekd.commands.export import export
from mobilekd.commands.verify import verify
from mobilekd.formats.artifact import hashes, open_artifact
from mobilekd.formats.integrity import write_sealed
from mobilekd.formats.parity_names import GateId, StageId
from mobilekd.formats.runs import DEFAULT_REFERENCE
from mobilekd.graphs import pte
from mobilekd.support.errors import CannotRunHere
from mobilekd.support.files import read_json

pytestmark = pytest.mark.long
NAME = f"reference:{DEFAULT_REFERENCE}"


@pytest.fixture(scope="module")
def libraries():
    try:
        return htp.find()
    except CannotRunHere as reason:
        pytest.skip(str(reason))


def hexagons(output: Path):
    return export(NAME, backend="qnn", soc="SM8650", precision="w8a16", output=output)


@pytest.fixture(scope="module")
def accepted(libraries, tmp_path_factory):
    return hexagons(tmp_path_factory.mktemp("qnn") / "artifact")


def test_it_is_accepted_on_the_recorded_gates(accepted, libraries):
    manifest = accepted.manifest
    gates = {gate.name.id: gate for gate in manifest.gates}
    assert all(gate.passed for gate in gates.values())
    recorded = {name for name, gate in gates.items() if gate.recorded}
    assert recorded == {GateId.AGREEMENT, GateId.BALANCED_ACCURACY}
    assert gates[GateId.AGREEMENT].samples == 4550
    assert manifest.chip == htp.chip("SM8650", libraries.version)
    assert (manifest.delegation.heavy_delegated, manifest.delegation.partitions) == (53, 1)
    assert manifest.delegation.portable == {}


def test_its_golden_set_is_the_simulators_and_no_phone_has_answered(accepted, libraries):
    rows = {row.stage.id: row for row in accepted.manifest.parity}
    saved, phone = rows[StageId.SAVED_FILE], rows[StageId.PHONE]
    assert saved.verified
    assert saved.where.startswith(f"HTP simulator of QNN {libraries.version} (SM8650)")
    assert not phone.verified
    checks = {check.name: check for check in verify(accepted.folder).checks}
    assert checks["golden set"].passed
    assert all(check.passed is not False for check in checks.values())


def test_a_file_for_another_chip_than_the_manifest_says_is_refused(accepted, tmp_path):
    place = Path(shutil.copytree(accepted.folder, tmp_path / "artifact"))
    pte.rewrite(open_artifact(place).model, {"soc": "SM8550"})
    document = read_json(place / "manifest.json", "manifest")
    document["chip"]["soc"] = "SM8550"
    document["files"] = hashes(place)  # as somebody would who tampers with care
    write_sealed(place / "manifest.json", document)
    checks = {check.name: check for check in verify(place).checks}
    assert checks["constants"].passed is False
    assert checks["constants"].detail.endswith("different from the manifest: soc")
