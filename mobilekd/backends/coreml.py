"""Core ML: an ``.mlpackage`` with an ML program, image input, classifier labels, and the artifact's
facts in its metadata.

Off macOS the saved package is run by the strict interpreter in ``mobilekd/graphs/mil``, which
proves everything but Apple's own kernels; on macOS Core ML itself answers.
"""

import hashlib
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilekd.backends.base import Lowered, eager_runner
from mobilekd.backends.shared import executorch_file
from mobilekd.backends.shared.coreml_file import (
    INT8,
    INT8_NOTE,
    MOST_WEIGHT_ERROR,
    REFERENCE,
    AppleFile,
    account,
    answer_from,
    decoded_weights,
    interpreted_layers,
    quiet,
    refuse_compressed_cam,
    where,
    with_decoded_weights,
)
from mobilekd.formats.constants import Constants, from_texts, to_texts
from mobilekd.formats.gates import Delegation
from mobilekd.formats.guard import OUTPUT
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_bytes

if TYPE_CHECKING:
    import torch
    from torch import fx

#: Precision -> least iOS; compressed weights need iOS 16's constexpr ops.
LEAST_IOS = {"fp16": 15, "fp32": 15, "int8": 16, "palette": 16}
#: coremltools makes a palette of so many values at most, of weights with so many elements at least.
MOST_VALUES, LEAST_PALETTE = 256, 2048
INPUT, LABEL, CAM = "image", "label", "cam"


class CoreML(AppleFile):
    """An ``.mlpackage``: fp16, fp32, int8 weights, or weights from a palette."""

    name = "coreml"
    precisions = ("fp16", "fp32", "int8", "palette")
    model_file = "model.mlpackage"
    on_device = "Core ML"

    def lower(
        self,
        model: "fx.GraphModule",
        example: "torch.Tensor",
        precision: str,
        constants: Constants,
        folder: Path,
    ) -> Lowered:
        """Convert, compress, describe, save; then read the saved package back and compare what it
        says of itself.
        """
        refuse_compressed_cam(self.name, precision, constants)
        if precision == "palette":
            _refuse_loose_weights(model)
        with quiet():
            package, heavy = convert(model, example, precision, constants)
            package = compress(package, precision)
            describe(package, constants)
            path = folder / self.model_file
            package.save(str(path))
            compressed = precision in MOST_WEIGHT_ERROR
            reference = (
                with_decoded_weights(model, decoded_weights(path), precision)
                if compressed
                else model
            )
        _refuse_other_facts(path, constants)
        return Lowered(
            model_path=path,
            delegation=self.delegation(path, heavy),
            eager_reference=eager_runner(reference),
            reference=REFERENCE[precision],
            memory=_memory(path),
            notes=_notes(precision),
            graph=lambda: reference,
            saved_layers=lambda x: interpreted_layers(path, x),
            least_ios=LEAST_IOS[precision],
        )

    def run(self, model_path: Path, x: np.ndarray) -> list[np.ndarray]:
        """The saved package: by Core ML on macOS, by the interpreter elsewhere (:meth:`where` says
        which).
        """
        if platform.system() == "Darwin":
            return predict(model_path, x)
        return interpret(model_path, x)

    def where(self) -> str:
        """What :meth:`run` runs on, for the parity table."""
        return where("Core ML")

    def constants(self, model_path: Path) -> Constants:
        """What the saved package says of itself, as ``mobilekd.formats.constants`` names it."""
        with quiet():
            from mobilekd.graphs.mil import Model

            return constants_in(Model(model_path).metadata)

    def rewrite(self, model_path: Path, constants: Constants) -> None:
        """Other fields in the metadata of the saved package."""
        rewrite_metadata(model_path, constants)

    def network_hash(self, model_path: Path) -> str:
        """Over the saved package without its metadata."""
        return package_hash(model_path)

    def delegation(self, model_path: Path, heavy_total: int) -> Delegation:
        """Counted in the saved package."""
        with quiet():
            from mobilekd.graphs.mil import Model

            return account(Model(model_path).program, heavy_total)


def convert(
    model: "fx.GraphModule", example: "torch.Tensor", precision: str, constants: Constants
) -> tuple[Any, int]:
    """The module as an uncompressed ``MLModel`` (int8 and palette compress fp16), and how many
    heavy ops went in.
    """
    import coremltools as ct
    import torch

    exported = torch.export.export(model, (example,)).run_decompositions({})
    probabilities, *others = exported.graph_signature.user_outputs
    try:
        package = ct.convert(
            exported,
            convert_to="mlprogram",
            inputs=[
                ct.ImageType(
                    name=INPUT,
                    shape=tuple(example.shape),
                    scale=1.0,
                    color_layout=ct.colorlayout.RGB,
                )
            ],
            classifier_config=ct.ClassifierConfig(
                constants["labels"],
                predicted_feature_name=LABEL,
                predicted_probabilities_output=probabilities,
            ),
            minimum_deployment_target=ct.target.iOS15,
            compute_precision=ct.precision.FLOAT32 if precision == "fp32" else ct.precision.FLOAT16,
            skip_model_load=True,
        )
    except NotImplementedError as error:  # how coremltools says that it knows no such operator
        raise UserError(
            f"--backend coreml: coremltools cannot convert this student ({error}); choose another"
            " student"
        ) from None
    if others:
        spec = package.get_spec()
        names = constants["outputs"]
        assert isinstance(names, list)
        for given, name in zip(others, names[1:], strict=True):
            ct.utils.rename_feature(spec, given, str(name))
        package = ct.models.MLModel(spec, weights_dir=package.weights_dir, skip_model_load=True)
    return package, sum(
        count
        for name, count in executorch_file.operators(exported.graph).items()
        if name in executorch_file.HEAVY
    )


def compress(package: Any, precision: str) -> Any:
    """int8: linear, symmetric, a scale per output channel. palette: the few values that a large
    layer's weights have, in a table.
    """
    if precision not in ("int8", "palette"):
        return package
    import coremltools.optimize.coreml as optimize

    if precision == "int8":
        linear = optimize.OpLinearQuantizerConfig(**INT8)
        return optimize.linear_quantize_weights(
            package, optimize.OptimizationConfig(global_config=linear)
        )
    palette = optimize.OpPalettizerConfig(mode="unique", weight_threshold=LEAST_PALETTE)
    return optimize.palettize_weights(package, optimize.OptimizationConfig(global_config=palette))


def _refuse_loose_weights(model: "fx.GraphModule") -> None:
    """coremltools leaves a layer of more values than a palette holds as it is, and says so in its
    log alone.
    """
    from mobilekd.graphs import torch_nodes

    for node in torch_nodes.heavy_nodes(model):
        weights = torch_nodes.weights_of(model, node)
        if weights.numel() >= LEAST_PALETTE and len(weights.unique()) > MOST_VALUES:
            name = torch_nodes.layer_name(node)
            raise UserError(
                f"palette: {name} holds more than {MOST_VALUES} values; round its weights first"
                " (quantize.store_weights)"
            )


def describe(package: Any, constants: Constants) -> None:
    """Fill Core ML's own fields for people, and the user-defined ones for programs."""
    height, width = constants["input_height"], constants["input_width"]
    package.author = "mobilekd"
    package.license = (
        "Program: Apache-2.0. Weights: under the licence of the data that trained them, named in"
        " the model card."
    )
    package.short_description = f"{constants['name']}: {constants['card']}".strip()
    package.version = str(constants["student"])[:12]
    package.input_description[INPUT] = (
        f"RGB photograph, centre crop to the aspect ratio of {width} x {height},"
        f" {constants['resize']} resize"
    )
    package.output_description[LABEL] = (
        "key of the likeliest class; below the threshold in the metadata the answer is: not sure"
    )
    package.output_description[f"{LABEL}_probs"] = "calibrated probability per class"
    for name, text in to_texts(constants).items():
        package.user_defined_metadata[name] = text


def rewrite_metadata(package: Path, constants: Constants) -> None:
    """Put ``constants`` among the fields for programs of a saved package, and change nothing
    else.
    """
    path, spec = _specification(package)
    fields = spec.description.metadata.userDefined
    for name, text in to_texts(constants).items():
        fields[name] = text
    write_bytes(path, spec.SerializeToString(deterministic=True))


def package_hash(package: Path) -> str:
    """Hex SHA-256 over a saved package's network: its specification without the metadata, and its
    weights.
    """
    path, spec = _specification(package)
    spec.description.ClearField("metadata")
    found = hashlib.sha256(spec.SerializeToString(deterministic=True))
    for weights in sorted((path.parent / "weights").rglob("*")):
        found.update(weights.read_bytes())
    return found.hexdigest()


def _specification(package: Path) -> tuple[Path, Any]:
    """Where a saved package's specification lies, and what it holds."""
    with quiet():
        from coremltools.proto import Model_pb2

    (path,) = package.rglob("*.mlmodel")
    spec = Model_pb2.Model()
    spec.ParseFromString(path.read_bytes())
    return path, spec


def constants_in(metadata: dict[str, str]) -> Constants:
    """The inverse of what :func:`describe` wrote into the user-defined metadata."""
    return from_texts(metadata, "Core ML")


def interpret(model_path: Path, x: np.ndarray) -> list[np.ndarray]:
    """float32 or uint8 ``[N, 3, H, W]`` -> outputs, by the interpreter; labels and size in the
    metadata must be the program's own.
    """
    with quiet():
        from mobilekd.graphs.mil import MilError, Model

        model = Model(model_path)
    said = constants_in(model.metadata)
    if said and (list(model.labels or ()), model.size) != (
        said.get("labels"),
        (said.get("input_height"), said.get("input_width")),
    ):
        raise MilError(
            f"{model_path}: the classifier's labels or the image's size are not those in the"
            " metadata"
        )
    return answer_from(model, x)


def predict(model_path: Path, x: np.ndarray) -> list[np.ndarray]:
    """The same by Core ML itself; runs on macOS."""
    with quiet():
        import coremltools as ct
        from PIL import Image

        model = ct.models.MLModel(str(model_path))
    description = model.get_spec().description
    labels = constants_in(dict(description.metadata.userDefined))["labels"]
    assert isinstance(labels, list)
    answers: list[list[np.ndarray]] = []
    for one in x:
        answer = model.predict(
            {INPUT: Image.fromarray(np.ascontiguousarray(one.transpose(1, 2, 0)).astype(np.uint8))}
        )
        probabilities = answer[description.predictedProbabilitiesName]
        parts = [np.array([[probabilities[label] for label in labels]], np.float32)]
        parts += [np.asarray(answer[name], np.float32) for name in (CAM, OUTPUT) if name in answer]
        answers.append(parts)
    return [np.concatenate(parts) for parts in zip(*answers, strict=True)]


def _refuse_other_facts(path: Path, constants: Constants) -> None:
    """The saved package must say of itself what it was told to."""
    saved = BACKEND.constants(path)
    wrong = sorted(name for name in constants if saved.get(name) != constants[name])
    if wrong:
        raise RuntimeError(f"{path}: the saved metadata differ in {', '.join(wrong)}")


def _memory(path: Path) -> dict[str, int]:
    weights = sum(file.stat().st_size for file in path.rglob("weights/*"))
    return {
        "weights": weights,
        "program": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) - weights,
    }


def _notes(precision: str) -> tuple[str, ...]:
    stored = {
        "fp16": "weights and arithmetic in fp16",
        "fp32": "weights and arithmetic in fp32: the Neural Engine is not used",
        "int8": INT8_NOTE,
        "palette": (
            "weights as palettes, one table per layer that is large enough, arithmetic in fp16"
        ),
    }[precision]
    return (
        f"least iOS {LEAST_IOS[precision]}: {stored}",
        "Apple's kernels are unverified until ios_export/check_on_mac.py has run on a Mac",
    )


BACKEND = CoreML()
