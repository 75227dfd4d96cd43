"""The table of mobile networks grows row by row, and an earlier call's rows are kept."""

import json

from fixtures.scripts import script

from mobilekd.support.provenance import versions


def test_a_row_is_written_at_once_and_not_made_again(checkout, tmp_path):
    networks = script(checkout / "benchmarks/networks.py")
    assert len(set(networks.NETWORKS)) == len(networks.NETWORKS) > 25
    output = tmp_path / "networks.json"
    call = [
        "--output",
        str(output),
        "--only",
        "timm:no_such_net",
        "--only",
        "timm:vit_tiny_patch16_224",
    ]
    networks.main(call)
    rows = {row["model"]: row for row in json.loads(output.read_text())["rows"]}
    assert "not a timm model" in rows["timm:no_such_net"]["refused"]
    assert "takes no photographs of 96x96" in rows["timm:vit_tiny_patch16_224"]["refused"]
    assert all(row["versions"] == versions() for row in rows.values())
    before = output.read_bytes()
    networks.main(call)
    assert output.read_bytes() == before
    networks.main(["--output", str(output), "--only", "timm:nor_this"])
    again = json.loads(output.read_text())["rows"]
    assert [row["model"] for row in again] == [*rows, "timm:nor_this"]
    assert again[:2] == list(rows.values())
