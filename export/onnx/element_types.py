"""The types of tensors, in ONNX's terms."""

from __future__ import annotations

import onnx_ir as ir

from ...graphs.contract import DType

ELEMENT_TYPES: dict[DType, ir.DataType] = {
    "int64": ir.DataType.INT64,
    "bool": ir.DataType.BOOL,
    "float32": ir.DataType.FLOAT,
    "float16": ir.DataType.FLOAT16,
    "bfloat16": ir.DataType.BFLOAT16,
}
STORED_TYPES: dict[str, ir.DataType] = {
    **dict(ELEMENT_TYPES.items()),
    "int8": ir.DataType.INT8,
    "int4": ir.DataType.INT4,
    "int32": ir.DataType.INT32,
}
