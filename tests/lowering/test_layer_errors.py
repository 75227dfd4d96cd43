"""Which layer's rounding is to blame: a planted fault is found, what is not rounded is blamed for
nothing, and the table travels in the artifact of every backend.
"""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures.quantize import smooth_photographs
from fixtures.run import exported, run_folder
from test_quantize import LAYERS, Small
from torch import fx, nn

from mobilekd.backends import get
from mobilekd.backends.base import eager_runner
from mobilekd.cli import main
from mobilekd.commands.export import export
from mobilekd.commands.inspect import inspect
from mobilekd.commands.report import report
from mobilekd.formats.artifact import open_artifact
from mobilekd.formats.layer_errors import LayerErrors, read_layer_errors
from mobilekd.graphs import torch_graph, torch_nodes
from mobilekd.lowering import quantize
from mobilekd.lowering.layer_errors import measured
from mobilekd.page.layer_errors import keep
from mobilekd.support.errors import UserError

#: Noise averages to the same features in every photograph, which no layer's error would move.
PHOTOGRAPHS = smooth_photographs(2, 16, 12)
Graphs = tuple[fx.GraphModule, Callable[..., fx.GraphModule]]


@pytest.fixture(scope="module")
def graphs() -> Graphs:
    """A network in floating point, and a function that rounds a copy of it."""
    torch.manual_seed(0)
    network = Small()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 1.5)
        for layer in (network.reduce, network.expand):  # or the gate would hardly move
            layer.weight.normal_(0, 1)
    plain = torch_graph.capture(network.eval(), torch.zeros(1, 3, 16, 16))
    torch_graph.fold_calibration(plain)

    def rounded(*float_layers: str, prepared_only: bool = False) -> fx.GraphModule:
        quantizer = get("xnnpack").quantizer("mixed", frozenset(float_layers))
        prepared = quantize.prepare(plain, quantizer, "minmax")
        quantize.calibrate(prepared, PHOTOGRAPHS)
        return prepared if prepared_only else quantize.convert(prepared)

    return plain, rounded


def errors(plain: fx.GraphModule, rounded: fx.GraphModule) -> LayerErrors:
    found = measured(plain, rounded, eager_runner(rounded), PHOTOGRAPHS, "golden", source="there")
    assert found is not None
    return found


def by_name(found: LayerErrors) -> dict[str, float]:
    return {one.layer: one.share for one in found.layers}


def heavy(graph: fx.GraphModule, name: str) -> fx.Node:
    (node,) = (one for one in torch_nodes.heavy_nodes(graph) if torch_nodes.layer_name(one) == name)
    return node


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_whose_weights_have_a_bad_scale_is_ranked_first(graphs: Graphs, layer: str) -> None:
    """One layer's scales are four times too large; before, another may have been the worst."""
    plain, rounded = graphs
    planted = rounded()
    scales = heavy(planted, layer).args[1].args[1]
    torch_nodes.set_tensor(planted, scales.target, 4 * torch_nodes.tensor_of(planted, scales))
    found = errors(plain, planted)
    sound = errors(plain, rounded())
    first = found.ranked()[0]
    assert first.layer == layer
    assert found.worst()[0] == layer
    before = next(one for one in sound.layers if one.layer == layer)
    assert first.change > 3 * before.change
    assert first.sqnr_db < before.sqnr_db - 20
    assert found.change > sound.change
    assert sum(by_name(found).values()) == pytest.approx(1)


def test_a_layer_whose_output_has_a_bad_range_is_ranked_first(graphs: Graphs) -> None:
    """It saturates at a tenth of its values, where its clamp is already taken out."""
    plain, rounded = graphs
    planted = rounded()
    node = heavy(planted, "project")
    while "quantize_per_tensor" not in str(node.target):
        (node,) = node.users
    for one in (node, *node.users):
        one.args = (one.args[0], one.args[1] / 10, *one.args[2:])
    planted.recompile()
    assert errors(plain, planted).ranked()[0].layer == "project"


def test_a_range_that_stands_in_for_a_clamp_is_no_error_of_the_layer(graphs: Graphs) -> None:
    """Where its levels end at the clamp's bounds a rounded graph needs no clamp; its answers are
    the same, and so is what is said of the layer.
    """
    plain, rounded = graphs
    with_clamps, without = rounded(), rounded()
    for node in list(without.graph.nodes):
        if node.target is torch.ops.aten.hardtanh.default:
            node.replace_all_uses_with(node.args[0])
            without.graph.erase_node(node)
    without.recompile()
    found = errors(plain, without)
    assert all(one.sqnr_db > 20 for one in found.layers)
    assert [one.sqnr_db for one in found.layers] == pytest.approx(
        [one.sqnr_db for one in errors(plain, with_clamps).layers], abs=3
    )


def test_each_alone_is_what_the_simulation_rounds_alone(graphs: Graphs) -> None:
    """A second way to it: observers in the prepared graph stand aside for rounding modules, all but
    one layer's switched off. It rounds no bias, and an input for all who read it.
    """
    plain, rounded = graphs
    found = errors(plain, rounded())
    whole = eager_runner(plain)(PHOTOGRAPHS)[0].astype(np.float64)
    place = np.arange(len(whole))
    first, second = whole.argsort(1)[:, -1], whole.argsort(1)[:, -2]

    def margin(given: np.ndarray) -> np.ndarray:
        return np.log(given[place, first]) - np.log(given[place, second])

    with quantize.Simulation(rounded(prepared_only=True)) as simulation:
        for one in found.layers:
            simulation.only(one.layer)
            given = simulation.answers(PHOTOGRAPHS).astype(np.float64)
            change = np.abs(margin(given) - margin(whole)).mean()
            assert one.change == pytest.approx(change, rel=0.25), one.layer


def test_what_is_left_in_floating_point_moves_nothing(graphs: Graphs) -> None:
    plain, rounded = graphs
    found = errors(plain, rounded("depthwise", "classifier"))
    for one in found.layers:
        left = one.layer in ("depthwise", "classifier")
        assert (one.change == 0) == left
        assert (one.sqnr_db == 200) == left
    assert not {"depthwise", "classifier"} & set(found.worst())


def test_where_nothing_is_rounded_there_is_no_table(graphs: Graphs) -> None:
    plain, _ = graphs
    same = copy.deepcopy(plain)
    assert measured(plain, same, eager_runner(same), PHOTOGRAPHS, "golden", source="") is None


def test_rounded_weights_alone_are_blamed(graphs: Graphs) -> None:
    """As Core ML's int8 has them; and a layer in another form is named, not left out in silence."""
    plain, _ = graphs
    other = copy.deepcopy(plain)
    weight = heavy(other, "reduce").args[1]
    torch_nodes.set_tensor(other, weight.target, torch_nodes.tensor_of(other, weight).round())
    found = errors(plain, other)
    assert found.ranked()[0].layer == "reduce"
    assert by_name(found)["reduce"] == 1
    weight = heavy(other, "stem").args[1]
    torch_nodes.set_tensor(other, weight.target, torch_nodes.tensor_of(other, weight)[:, :, :2])
    changed = measured(
        plain,
        other,
        eager_runner(plain),
        PHOTOGRAPHS,
        "golden",
        saved_layers=lambda x: [],
        source="",
    )
    assert changed is not None
    assert changed.not_compared == ("stem",)
    assert "stem" not in by_name(changed)
    assert {one.file_sqnr_db for one in changed.layers} == {None}


@pytest.mark.parametrize(
    ("backend", "source"),
    [
        ("xnnpack", "the rounded graph, whose answers the saved file's equal within"),
        ("onnx", "the outputs of the saved file's own layers"),
        ("coreml", "the outputs of the saved file's own layers"),
    ],
)
def test_every_int8_artifact_tells(
    backend: str, source: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder, picture = exported("int8", backend), tmp_path / "layers.svg"
    found = read_layer_errors(folder)
    assert found is not None
    assert (found.photographs, found.of) == (16, "training")
    assert found.source.startswith(source)
    assert len(found.layers) == 23
    assert all(one.file_sqnr_db is not None for one in found.layers)
    assert main(["inspect", str(folder), "--layers", "--picture", str(picture)]) == 0
    said = capsys.readouterr().out
    assert "On 16 training photographs, one layer rounded at a time" in said
    rows = re.findall(r"^(\S+) +[0-9.]+% ", said, re.MULTILINE)
    assert rows == [one.layer for one in found.ranked()]
    assert f"Keep in higher precision: {', '.join(rows[:3])}." in said
    option = f'--precision mixed --set \'quantize.float_layers=["{rows[0]}", '
    assert (option in said) == (backend != "coreml")
    assert ("--backend coreml --precision fp16 keeps all of them" in said) == (backend == "coreml")
    drawn = picture.read_text(encoding="utf-8")
    assert drawn.count(" dB</text>") == 23
    assert "conv_stem" in drawn


def test_the_page_has_the_picture_and_names_the_layers(tmp_path: Path) -> None:
    folder = exported("int8")
    page = report([folder], tmp_path / "report.html").read_text(encoding="utf-8")
    found = read_layer_errors(folder)
    assert found is not None
    part = page.split("Which layer&#x27;s rounding is to blame")[-1]
    assert part.split("</svg>")[0].count(" dB</text>") == 23
    assert found.worst()[0] in part
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["artifacts"][0]["layer_errors"] == found.model_dump(mode="json")


def test_an_artifact_without_a_table_says_why() -> None:
    with pytest.raises(UserError, match=r"has no layer_errors.json; fp32 rounds no layer, or"):
        inspect(exported("fp32"), layers=True)
    assert "layer_errors" not in inspect(exported("fp32"))


@pytest.mark.parametrize(
    ("backend", "precision", "words"),
    [
        ("qnn", "w8a8", "--backend qnn --precision w8a16 keeps all of them."),
        ("qnn", "w8a16", "--backend qnn --precision fp16 keeps all of them."),
        ("qnn", "fp16", "qnn has no option for it."),
        ("coreml", "fp16", "--backend coreml --precision fp32 keeps all of them."),
    ],
)
def test_what_is_finer_than_the_file_is_named(backend: str, precision: str, words: str) -> None:
    opened = open_artifact(exported("int8"))
    found = read_layer_errors(opened.folder)
    assert found is not None
    other = opened.manifest.model_copy(update={"backend": backend, "precision": precision})
    assert keep(other, found).endswith(words)


def test_a_file_that_no_backend_here_made_gets_no_command() -> None:
    opened = open_artifact(exported("int8"))
    found = read_layer_errors(opened.folder)
    assert found is not None
    strange = opened.manifest.model_copy(update={"backend": "of-tomorrow"})
    assert keep(strange, found).endswith(f"{found.worst()[-1]}.")


@pytest.mark.parametrize(
    ("precision", "layers", "line"),
    [
        (
            "mixed",
            '["conv_stm"]',
            "quantize.float_layers: layer conv_stm: unknown; did you mean conv_stem",
        ),
        ("int8", '["conv_stem"]', "--precision int8 rounds every layer; export --precision mixed"),
    ],
)
def test_layers_to_keep_that_cannot_be_kept_are_one_line(
    tmp_path: Path, precision: str, layers: str, line: str
) -> None:
    with pytest.raises(UserError) as caught:
        export(
            run_folder(),
            precision=precision,
            output=tmp_path / "artifact",
            overrides=[f"quantize.float_layers={layers}"],
        )
    assert line in str(caught.value)
    assert not (tmp_path / "artifact").exists()


def test_the_named_layers_stay_in_floating_point(tmp_path: Path) -> None:
    """The command that ``inspect --layers`` prints, with the layers of the table."""
    whole = read_layer_errors(exported("int8"))
    assert whole is not None
    names = whole.worst()
    made = export(
        run_folder(),
        precision="mixed",
        output=tmp_path / "artifact",
        overrides=[f"quantize.float_layers={json.dumps(names)}"],
    )
    left = ", ".join(sorted(names))
    note = f"3 of 23 layers in floating point, named by quantize.float_layers: {left}"
    assert note in made.manifest.notes
    found = read_layer_errors(made.folder)
    assert found is not None
    assert found.in_float == tuple(sorted(names))
    assert [one.change for one in found.layers if one.layer in names] == [0, 0, 0]
    assert found.change < whole.change
    assert f'["{found.in_float[0]}", ' in keep(made.manifest, found)
