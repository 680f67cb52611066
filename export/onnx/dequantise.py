"""Weights that enter a graph as integers: a DequantizeLinear before each matrix product instead of a transposed matrix."""

from __future__ import annotations

import onnx_ir as ir

from ...graphs.dtypes import DTYPES, DType
from ...graphs.parameters import EMBEDDING
from ...graphs.weight_formats import StoredPart, WeightFormat, WeightFormats
from .gather_embedding import gather_rows, only_consumer

PREFIX = "transformer."


def dequantise_weights(graph: ir.Graph, formats: WeightFormats, stored_dtype: DType, compute_dtype: DType) -> None:
    """Put integers and scales instead of every weight among the graph's inputs that `formats` quantises.

    A traced linear layer multiplies by its weight's transpose. Integers are stored transposed, `[inputs, outputs]`: of
    this form, and of no other, ONNX Runtime makes a product that never expands them.
    """
    for weight in [value for value in graph.inputs if str(value.name).startswith(PREFIX)]:
        shape = _numbers(weight)
        name = str(weight.name).removeprefix(PREFIX)
        weight_format = formats.of(name, shape)
        if weight_format.quantised:
            integers, scales = (_input(graph, part) for part in formats.parts(name, shape, stored_dtype))
            if name == EMBEDDING:
                gather_rows(graph, weight, integers, scales, weight_format, shape[1])
            else:
                _replace_transpose(graph, weight, integers, scales, weight_format, compute_dtype)
            graph.inputs.remove(weight)


def _element_type(dtype: DType) -> ir.DataType:
    return ir.DataType(DTYPES[dtype].onnx)


def _numbers(value: ir.Value) -> tuple[int, ...]:
    assert value.shape is not None
    return value.shape.numpy()


def _input(graph: ir.Graph, part: StoredPart) -> ir.Value:
    value = ir.Value(name=PREFIX + part.name, shape=ir.Shape(part.shape), type=ir.TensorType(_element_type(part.dtype)))
    graph.inputs.append(value)
    return value


def _replace_transpose(
    graph: ir.Graph,
    weight: ir.Value,
    integers: ir.Value,
    scales: ir.Value,
    weight_format: WeightFormat,
    compute_dtype: DType,
) -> None:
    """Let the result of `Transpose(weight)` or `Transpose(Cast(weight))` come from `DequantizeLinear(integers, scales)`."""
    name = str(weight.name)
    old = [only_consumer(weight)]
    if old[0].op_type == "Cast":
        old.append(only_consumer(old[0].outputs[0]))
    assert old[-1].op_type == "Transpose", f"{name} goes into {old[-1].op_type}"
    new = []
    if scales.dtype != _element_type(compute_dtype):
        new.append(ir.node("Cast", [scales], {"to": _element_type(compute_dtype)}, name=f"{name}.cast"))
        scales = new[0].outputs[0]
        scales.name = f"{name}.cast"
    attributes = {"axis": 0, "block_size": weight_format.group}
    new.append(ir.node("DequantizeLinear", [integers, scales], attributes, name=f"{name}.dequantised"))
    new[-1].outputs[0].name = f"{name}.dequantised"
    graph.insert_before(old[0], new)
    old[-1].outputs[0].replace_all_uses_with(new[-1].outputs[0])
    graph.remove(list(reversed(old)), safe=True)
