"""The dtypes of tensors, and what each is called by the libraries and file formats that the project speaks to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import ml_dtypes
import numpy as np

from .errors import unknown
from .schema import Form

DType = Literal["int64", "int32", "int8", "uint8", "int4", "bool", "float32", "float16", "bfloat16"]


@dataclass(frozen=True)
class ElementType:
    """One dtype: `bits` of an element as files hold it, its numpy dtype, its number in ONNX, and its other names.

    `onnxruntime` is how a session names a tensor of it. Safetensors has no integers of 4 bits: they are bytes there, two
    to each.
    """

    name: DType
    bits: int
    numpy: np.dtype[Any]
    onnx: int
    onnxruntime: str
    safetensors: str
    tensorrt: str

    @property
    def itemsize(self) -> int:
        """Bytes of one element; int4 has none of its own."""
        assert self.bits % 8 == 0, f"an element of {self.name} is no whole number of bytes"
        return self.bits // 8

    def nbytes(self, count: int) -> int:
        """Return the bytes of `count` elements side by side, those of 4 bits packed two to a byte."""
        return -(-count * self.bits // 8)


_TABLE = (
    ElementType("int64", 64, np.dtype(np.int64), 7, "tensor(int64)", "I64", "INT64"),
    ElementType("int32", 32, np.dtype(np.int32), 6, "tensor(int32)", "I32", "INT32"),
    ElementType("int8", 8, np.dtype(np.int8), 3, "tensor(int8)", "I8", "INT8"),
    ElementType("uint8", 8, np.dtype(np.uint8), 2, "tensor(uint8)", "U8", "UINT8"),
    ElementType("int4", 4, np.dtype(ml_dtypes.int4), 22, "tensor(int4)", "U8", "INT4"),
    ElementType("bool", 8, np.dtype(np.bool_), 9, "tensor(bool)", "BOOL", "BOOL"),
    ElementType("float32", 32, np.dtype(np.float32), 1, "tensor(float)", "F32", "FLOAT"),
    ElementType("float16", 16, np.dtype(np.float16), 10, "tensor(float16)", "F16", "HALF"),
    ElementType("bfloat16", 16, np.dtype(ml_dtypes.bfloat16), 16, "tensor(bfloat16)", "BF16", "BF16"),
)
DTYPES: Mapping[DType, ElementType] = {element_type.name: element_type for element_type in _TABLE}
# What weights are stored as where they are plain, and what graphs compute in.
FLOATS: tuple[DType, ...] = ("float32", "float16", "bfloat16")
FloatDType = Annotated[DType, Form("|".join(FLOATS), f"one of {', '.join(FLOATS)}")]
"""One of `FLOATS`, as a field that is read."""

_BY_ONNX = {element_type.onnx: element_type for element_type in _TABLE}


def dtype_of_onnx(number: int) -> ElementType:
    """Return the dtype with this number in ONNX; raises KeyError for one that no graph of a bundle has."""
    return _BY_ONNX[number]


def safetensors_dtypes(dtypes: Sequence[DType]) -> dict[str, DType]:
    """Return these dtypes by their names in safetensors."""
    return {DTYPES[dtype].safetensors: dtype for dtype in dtypes}


def parse_dtype(name: str, besides: Sequence[str] = ()) -> DType:
    """Return the one of `FLOATS` that a user names; `besides` are the names that the caller takes as well.

    Raises `DllmEdgeError` with all of them for any other.
    """
    for dtype in FLOATS:
        if dtype == name:
            return dtype
    raise unknown("dtype", name, [*besides, *FLOATS])
