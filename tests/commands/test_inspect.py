"""``inspect`` reads the folder alone, and its parts add up."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures.run import exported

from mobilekd.cli import describe
from mobilekd.commands.inspect import category, cost_picture, inspect, layer_rows, profiled
from mobilekd.formats.artifact import open_artifact
from mobilekd.graphs import pte
from mobilekd.support.errors import UserError


@pytest.fixture(scope="module", params=["fp32", "int8"])
def document(request, tmp_path_factory):
    picture = tmp_path_factory.mktemp("picture") / "cost.svg"
    return inspect(exported(request.param), profile=True, picture=picture), picture


def test_every_byte_has_a_place(document):
    found, _ = document
    assert sum(found["bytes"]["parts"].values()) == found["bytes"]["file"]


def test_layers_have_names_and_shares(document):
    found, _ = document
    assert len(found["layers"]) == found["delegation"]["heavy_total"]
    assert found["layers"][0]["layer"] == "conv_stem"
    assert sum(row["share"] for row in found["layers"]) == pytest.approx(1)
    assert {row["precision"] for row in found["layers"]} == {
        "int8" if found["precision"] == "int8" else "float"
    }


def test_profile_covers_every_layer(document):
    found, _ = document
    assert all(row["microseconds"] >= 0 for row in found["layers"])
    assert (
        sum(found["profile"]["by_category"].values())
        <= found["profile"]["execute_microseconds"] * 1.2
    )


@pytest.mark.parametrize("backend", ["coreml-pte", "qnn", "vulkan"])
def test_kernels_that_are_not_here_have_no_times(backend):
    """A simulator or an interpreter would only give its own; where they are missing, the runtime
    ends in words of its own.
    """
    opened = open_artifact(exported("fp32"))
    other = replace(opened, manifest=opened.manifest.model_copy(update={"backend": backend}))
    with pytest.raises(UserError, match=f"it has none of {backend}'s; measure the file on its"):
        profiled(other)


def test_a_person_reads_all_of_it(document):
    text = describe.artifact(document[0])
    for part in (
        "classes ",
        "BYTES",
        "memory in bytes: weights",
        "planned",
        "convolutions and linear layers in the delegate",
        "LAYER",
        "STAGE",
        "not asked for",
        "GATE",
        "SLOWEST OPERATORS",
        "PROVENANCE",
        "executorch ",
        "squeeze-and-excitation: none in this network",
    ):
        assert part in text, part


def test_a_file_that_cannot_be_looked_into_has_its_source_s_layers(tmp_path):
    """Core ML, Vulkan and the portable kernels: the exporter's count, by name, drawn all
    the same.
    """
    place = Path(shutil.copytree(exported("fp32"), tmp_path / "artifact"))
    read = layer_rows(open_artifact(place), None)
    counted = layer_rows(open_artifact(place), pte.read(place / "model.pte"))
    for name in ("layer", "output", "macs"):
        if name == "output":  # delegates compute in NHWC, and a linear layer has no height
            assert [sorted(row[name]) for row in read] == [
                sorted(size for size in row[name][1:]) for row in counted
            ]
        else:
            assert [row[name] for row in read] == [row[name] for row in counted]
    picture = cost_picture({"artifact": "a", "name": "n", "precision": "fp16", "layers": read})
    assert "parameters" in picture
    assert "conv_stem" in picture


def test_it_is_json_and_a_picture_that_needs_no_page(document):
    found, picture = document
    json.dumps(found, allow_nan=False)
    text = picture.read_text()
    assert text.startswith("<svg")
    assert "conv_stem" in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(
    ("operator", "wanted"),
    [
        ("Convolution (NHWC, QS8, QC8W) IGEMM #1", "convolution"),
        ("Fully Connected (NC, F32) GEMM #3", "matrix product"),
        ("Transpose (ND, X8) #1", "data movement"),
        ("HardSwish (NC) #2", "elementwise"),
        ("Softmax (NC, F32) #1", "reduction"),
    ],
)
def test_operators_fall_into_categories(operator, wanted):
    assert category(operator) == wanted
