"""The cache operations that an engine runs on its device, as small graphs without weights."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from ...graphs import contract
from ...graphs.config import ModelConfig
from ...graphs.contract import DType, TensorSpec
from .element_types import ELEMENT_TYPES
from .step_graph import IR_VERSIONS
from .trace import OPSETS

OPERATIONS = ("saliency", "select")


def operation_file(name: str, twin: DType | None = None) -> str:
    """`saliency.onnx`, and with `.float32` for the twin over caches of that type."""
    return ".".join([name, *([twin] if twin else []), "onnx"])


def write_operation(path: Path, name: str, config: ModelConfig, cache: DType) -> None:
    """Write the operation `name` (one of `OPERATIONS`) over caches of type `cache` to `path`."""
    model = _saliency(config, cache) if name == "saliency" else _select(config, cache)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def _saliency(config: ModelConfig, cache: DType) -> onnx.ModelProto:
    # Products and sums by element instead of a matrix product: a compiler makes one kernel of them, which reads the keys
    # in their own type; a product in float32 would need all keys as float32 in memory.
    nodes = [
        helper.make_node("Slice", ["slots", "first", "last", "layers", "two"], ["keys"]),
        helper.make_node("Cast", ["keys"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["queries", "two"], ["spread"]),
        helper.make_node("Mul", ["wide", "spread"], ["products"]),
        helper.make_node("ReduceSum", ["products", "three"], ["by_head"], keepdims=0),
        helper.make_node("ReduceMean", ["by_head", "heads"], ["scores"], keepdims=0),
    ]
    constants = {"first": 0, "last": 2 * config.layers, "layers": 0, "two": 2, "three": 3, "heads": 1}
    return _model("saliency", nodes, constants, config, cache)


def _select(config: ModelConfig, cache: DType) -> onnx.ModelProto:
    return _model("select", [helper.make_node("Gather", ["rows", "places"], ["kept"], axis=0)], {}, config, cache)


def _model(
    name: str, nodes: list[onnx.NodeProto], constants: dict[str, int], config: ModelConfig, cache: DType
) -> onnx.ModelProto:
    inputs, outputs = contract.interface(name, config, cache, 0)
    values = [helper.make_tensor(constant, TensorProto.INT64, [1], [value]) for constant, value in constants.items()]
    graph = helper.make_graph(nodes, name, [_value(spec) for spec in inputs], [_value(spec) for spec in outputs], values)
    opset = helper.make_opsetid("", OPSETS["portable"])
    return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSIONS["portable"], producer_name="dllm-edge")


def _value(spec: TensorSpec) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(spec.name, ELEMENT_TYPES[spec.dtype].value, spec.axes)
