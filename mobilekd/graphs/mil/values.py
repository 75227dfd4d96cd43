"""Types and constants of an ML program: immediate values in the protobuf, blobs in the weight file
(format 2).
"""

import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from coremltools.proto import MIL_pb2

from mobilekd.support.errors import UserError

T = TypeVar("T")


class MilError(UserError):
    """The package holds something unknown to the interpreter, or contradicts itself."""


class Storage(NamedTuple):
    """How one element of a MIL type lies in bytes, and its code in a blob's header."""

    numpy: str
    bits: int
    code: int


STORAGE = {
    "FLOAT16": Storage("<f2", 16, 1),
    "FLOAT32": Storage("<f4", 32, 2),
    "UINT8": Storage("u1", 8, 3),
    "INT8": Storage("i1", 8, 4),
    "INT16": Storage("<i2", 16, 6),
    "UINT16": Storage("<u2", 16, 7),
    "INT4": Storage("i1", 4, 8),
    "UINT1": Storage("u1", 1, 9),
    "UINT2": Storage("u1", 2, 10),
    "UINT4": Storage("u1", 4, 11),
    "UINT3": Storage("u1", 3, 12),
    "UINT6": Storage("u1", 6, 13),
    "INT32": Storage("<i4", 32, 14),
    "UINT32": Storage("<u4", 32, 15),
}
#: Types that only ever stand in the protobuf itself.
IMMEDIATE = {"BOOL": "?", "INT64": "<i8", "FLOAT64": "<f8"}
FLOATS = ("FLOAT16", "FLOAT32")

BLOB_MAGIC = 0xDEADBEEF
BLOB_VERSION = 2


class Type(NamedTuple):
    """Element type and shape; ``None`` stands for a dimension that is not fixed. Not a tensor:
    shape ``()``.
    """

    dtype: str
    shape: tuple[int | None, ...]


class Value(NamedTuple):
    """A value in the program. ``data`` of a floating type is a float32 tensor whose numbers the
    type can hold.
    """

    dtype: str
    data: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a tensor or an array; a string is a scalar."""
        return tuple(getattr(self.data, "shape", ()))


def declared_type(proto: Any) -> Type:
    """A protobuf ``ValueType``."""
    kind = proto.WhichOneof("type")
    if kind != "tensorType":
        return Type(kind, ())
    tensor = proto.tensorType
    if tensor.rank != len(tensor.dimensions):
        raise MilError(
            f"a tensor type of rank {tensor.rank} lists {len(tensor.dimensions)} dimensions"
        )
    shape = tuple(
        d.constant.size if d.WhichOneof("dimension") == "constant" else None
        for d in tensor.dimensions
    )
    return Type(enum_name(MIL_pb2.DataType, tensor.dataType), shape)


def enum_name(enum: Any, number: int) -> str:
    """The name of a protobuf enum's ``number``; a file can hold one that has none."""
    if number not in enum.values():
        raise MilError(f"{enum.DESCRIPTOR.name} {number}: not known to the interpreter")
    return str(enum.Name(number))


def the_one(items: Iterable[T], what: str) -> T:
    """The only one of ``items``; ``what`` names them in the error where there is not one."""
    found = list(items)
    if len(found) != 1:
        raise MilError(f"{what}: {len(found)} in place of one")
    return found[0]


def constant(proto: Any, files: Mapping[str, bytes]) -> Value:
    """A protobuf ``Value``: a tensor, a string, or a list of strings."""
    kind = proto.type.WhichOneof("type")
    if kind == "listType":
        return Value(
            "LIST", [constant(item, files).data for item in proto.immediateValue.list.values]
        )
    if kind != "tensorType":
        raise MilError(f"constant of {kind}: not known to the interpreter")
    dtype, sizes = declared_type(proto.type)
    shape = tuple(size for size in sizes if size is not None)
    if len(shape) != len(sizes):
        raise MilError("a constant's shape is not fixed")
    if proto.WhichOneof("value") == "blobFileValue":
        name = proto.blobFileValue.fileName.rsplit("/", 1)[-1]
        if name not in files:
            raise MilError(f"weight file {name}: missing from the package")
        return typed(dtype, blob(files[name], proto.blobFileValue.offset, dtype, shape))
    tensor = proto.immediateValue.tensor
    field = tensor.WhichOneof("value")
    if field == "bytes":
        return typed(dtype, from_bytes(tensor.bytes.values, dtype, shape))
    items = list(getattr(tensor, field).values) if field else []
    numpy_type = IMMEDIATE.get(dtype) or (None if dtype == "STRING" else storage(dtype).numpy)
    if len(items) != math.prod(shape):
        raise MilError(f"a constant of shape {shape} holds {len(items)} elements")
    if numpy_type is None:
        return Value(dtype, items[0] if shape == () else items)
    try:
        return typed(dtype, np.array(items, numpy_type).reshape(shape))
    except (OverflowError, TypeError, ValueError) as error:
        raise MilError(f"a constant of {dtype} {shape}: {error}") from None


def typed(dtype: str, array: np.ndarray) -> Value:
    """Widen floating types to float32 tensors; leave integers as they are."""
    if dtype in FLOATS:
        return Value(dtype, torch.from_numpy(array.astype(np.float32)))
    return Value(dtype, array)


def storage(dtype: str) -> Storage:
    """How ``dtype`` is stored; an unknown one is an error by its name."""
    if dtype not in STORAGE:
        raise MilError(f"type {dtype}: not known to the interpreter")
    return STORAGE[dtype]


def blob(file: bytes, offset: int, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """One tensor of a weight file: a 64-byte header, then per tensor 64 bytes of metadata that
    point at its data.
    """
    layout = storage(dtype)
    try:
        _, version = struct.unpack_from("<II", file, 0)
        magic, code, size, start, padding_bits = struct.unpack_from("<IIQQQ", file, offset)
    except struct.error:
        raise MilError(f"weight file: ends before the record at {offset}") from None
    if version != BLOB_VERSION or magic != BLOB_MAGIC:
        raise MilError(f"weight file: no record of format {BLOB_VERSION} at {offset}")
    if code != layout.code:
        raise MilError(
            f"weight file: the record at {offset} holds type {code}, the program says {dtype}"
        )
    bits = math.prod(shape) * layout.bits + (padding_bits if layout.bits < 8 else 0)
    if size * 8 != bits:
        raise MilError(
            f"weight file: the record at {offset} has {size} bytes, {dtype} {shape} needs"
            f" {bits / 8:g}"
        )
    if start + size > len(file):
        raise MilError(
            f"weight file: truncated, the record at {offset} needs {start + size} bytes of"
            f" {len(file)}"
        )
    return from_bytes(file[start : start + size], dtype, shape)


def from_bytes(raw: bytes, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Little-endian elements; below 8 bits they are packed from the lowest bit up."""
    layout, count = storage(dtype), math.prod(shape)
    if len(raw) * 8 < count * layout.bits:
        raise MilError(f"a constant of {dtype} {shape} has only {len(raw)} bytes")
    if layout.bits < 8:
        return (
            unpack_bits(raw, count, layout.bits, signed=dtype.startswith("I"))
            .astype(layout.numpy)
            .reshape(shape)
        )
    return np.frombuffer(raw, layout.numpy, count).reshape(shape).copy()


def unpack_bits(raw: bytes, count: int, bits: int, *, signed: bool = False) -> np.ndarray:
    """``count`` integers of ``bits`` bits from a stream that starts at each byte's lowest bit ->
    int32 ``[count]``.
    """
    stream = np.unpackbits(np.frombuffer(raw, "u1"), bitorder="little")[: count * bits].reshape(
        count, bits
    )
    numbers = (stream.astype(np.int32) << np.arange(bits, dtype=np.int32)).sum(
        axis=1, dtype=np.int32
    )
    return numbers - ((numbers >> (bits - 1)) << bits) if signed else numbers
