"""The ``constexpr_*`` ops: compressed weights that Core ML unpacks when it loads a model. Arrays
in, arrays out.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch

from mobilekd.graphs.mil.values import FLOATS, MilError, Value, typed, unpack_bits


def decompress(name: str, arguments: Mapping[str, Value]) -> Value:
    """Run one ``constexpr_*`` op; its result has the floating type of its scale or its table."""
    if name not in CONSTEXPR:
        raise MilError(f"op {name}: not known to the interpreter")
    function, typed_by = CONSTEXPR[name]
    if typed_by not in arguments or arguments[typed_by].dtype not in FLOATS:
        raise MilError(f"op {name}: {typed_by} is missing or not of a floating type")
    try:
        dense = function(**{key: _array(value) for key, value in arguments.items()})
    except (TypeError, ValueError, IndexError) as error:
        raise MilError(f"op {name}: {error}") from None
    dtype = arguments[typed_by].dtype
    return typed(dtype, dense.astype(np.float16 if dtype == "FLOAT16" else np.float32))


def affine_dequantize(
    quantized_data: np.ndarray, zero_point: np.ndarray, scale: np.ndarray, axis: np.ndarray
) -> np.ndarray:
    """iOS 16: ``scale (q - zero_point)``, both scalars or one per slice of ``axis``."""

    def along_axis(values: np.ndarray) -> np.ndarray:
        shape = [1] * quantized_data.ndim
        shape[int(axis)] = -1
        return (
            values.astype(np.float32).reshape(shape) if values.ndim else values.astype(np.float32)
        )

    return (quantized_data.astype(np.float32) - along_axis(zero_point)) * along_axis(scale)


def blockwise_shift_scale(
    data: np.ndarray, scale: np.ndarray, offset: np.ndarray | None = None
) -> np.ndarray:
    """iOS 18: ``scale (q - offset)`` with one scale per block."""
    shifted = data.astype(np.float32) - (0 if offset is None else _per_element(offset, data.shape))
    return shifted * _per_element(scale, data.shape)


def lut_to_dense(
    indices: np.ndarray,
    lut: np.ndarray,
    shape: np.ndarray | None = None,
    vector_axis: np.ndarray | None = None,
) -> np.ndarray:
    """Palettes. iOS 16: packed indices into one table, ``shape`` given; iOS 18: a table per
    block.
    """
    if vector_axis is not None:
        raise MilError(
            "op constexpr_lut_to_dense: palettes of vectors are not known to the interpreter"
        )
    if shape is not None:
        sizes = [int(size) for size in shape]
        bits = lut.size.bit_length() - 1
        if lut.size != 1 << bits:
            raise MilError(f"op constexpr_lut_to_dense: a table of {lut.size} entries")
        return lut[unpack_bits(indices.tobytes(), int(np.prod(sizes)), bits)].reshape(sizes)
    if lut.shape[-1] != 1:
        raise MilError(
            "op constexpr_lut_to_dense: palettes of vectors are not known to the interpreter"
        )
    tables = lut[..., 0]
    for axis, size in enumerate(indices.shape):
        tables = np.repeat(tables, size // tables.shape[axis], axis)
    return np.take_along_axis(tables, indices[..., None].astype(np.int64), -1)[..., 0]


#: Name -> (function, the argument whose type is the result's).
CONSTEXPR: dict[str, tuple[Callable[..., np.ndarray], str]] = {
    "constexpr_affine_dequantize": (affine_dequantize, "scale"),
    "constexpr_blockwise_shift_scale": (blockwise_shift_scale, "scale"),
    "constexpr_lut_to_dense": (lut_to_dense, "lut"),
}


def _array(value: Value) -> np.ndarray:
    return value.data.numpy() if isinstance(value.data, torch.Tensor) else np.asarray(value.data)


def _per_element(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    for axis, size in enumerate(shape):
        values = np.repeat(values, size // values.shape[axis], axis)
    return values.astype(np.float32)
