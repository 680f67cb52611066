"""Whether the operators of a graph, and the types that they run in, are those that TensorRT takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx
from onnx import NodeProto, TensorProto
from onnx.defs import OpSchema

from ..tensorrt.operators import operator_dtypes

# The inputs that its parser wants as constants.
CONSTANT_INPUTS = {
    "ReduceMax": 1,
    "ReduceMean": 1,
    "ReduceSum": 1,
    "Slice": 3,
    "Split": 1,
    "Squeeze": 1,
    "TopK": 1,
    "Unsqueeze": 1,
}
LARGEST_TOP_K = 3839
# The operators whose outcome has a type of its own that counts too.
CONVERSIONS = {"Cast": ("T1", "T2")}


def operator_problems(model: onnx.ModelProto, flavour: str) -> Iterator[str]:
    """Yield what TensorRT would refuse in a graph of this flavour; its weights need not be there."""
    yield from _names(model, flavour)
    yield from _constants(model)
    yield from _types(model, flavour)


def _names(model: onnx.ModelProto, flavour: str) -> Iterator[str]:
    for name in sorted({node.op_type for node in model.graph.node} - operator_dtypes(flavour).keys()):
        yield f"the operator {name} is not one of the {flavour} flavour"


def _constants(model: onnx.ModelProto) -> Iterator[str]:
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        index = CONSTANT_INPUTS.get(node.op_type)
        if index is not None and len(node.input) > index and node.input[index] not in constants:
            yield f"{node.name}: input {index} of {node.op_type} is no constant"
        elif node.op_type == "TopK" and onnx.numpy_helper.to_array(constants[node.input[1]]).item() > LARGEST_TOP_K:
            yield f"{node.name}: more than {LARGEST_TOP_K} candidates"


def _types(model: onnx.ModelProto, flavour: str) -> Iterator[str]:
    known = operator_dtypes(flavour)
    try:
        types = tensor_types(model)
    except onnx.shape_inference.InferenceError as error:
        yield f"its types or shapes contradict each other: {str(error).splitlines()[0]}"
        return
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    for node in model.graph.node:
        allowed = known.get(node.op_type)
        if allowed is None:
            continue
        for name in sorted(running_types(node, onnx.defs.get_schema(node.op_type, opset), types) - allowed):
            yield f"{node.name}: {node.op_type} runs in {name}, TensorRT takes it in {', '.join(sorted(allowed))}"


def tensor_types(model: onnx.ModelProto) -> dict[str, str]:
    """Return the type of each tensor, as `float32`; `unknown` where inference does not tell."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    types |= {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)}
    return {name: type_name(element_type) for name, element_type in types.items()}


def type_name(element_type: int) -> str:
    name: str = TensorProto.DataType.Name(element_type).lower()
    return {"float": "float32", "float8e4m3fn": "float8"}.get(name, name)


def running_types(node: NodeProto, schema: OpSchema, types: dict[str, str]) -> set[str]:
    """Return the types that the operator computes in, not those of indices, conditions and shapes."""
    inputs = zip(node.input, _formal(schema.inputs, len(node.input)), strict=True)
    outputs = zip(node.output, _formal(schema.outputs, len(node.output)), strict=True)
    counted = CONVERSIONS.get(node.op_type) or _computed(schema)
    return {types.get(name, "unknown") for name, letter in (*inputs, *outputs) if name and letter in counted}


def _formal(parameters: Sequence[OpSchema.FormalParameter], count: int) -> list[str]:
    """Return the type letters of `count` arguments: the last parameter may take several."""
    letters = [parameter.type_str for parameter in parameters]
    return (letters + letters[-1:] * count)[:count]


def _computed(schema: OpSchema) -> tuple[str, ...]:
    letters = [parameter.type_str for parameter in (*schema.inputs, *schema.outputs)]
    return ("T",) if "T" in letters else (letters[0],)
