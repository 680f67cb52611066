"""The cache operations that an engine runs on its device, as small graphs without weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from ...graphs import contract
from ...graphs.config import ModelConfig
from ...graphs.contract import TensorSpec
from ...graphs.dtypes import DTYPES, DType
from ...graphs.whole_file import write_whole
from .step_graph import IR_VERSIONS
from .trace import OPSETS


def operation_file(name: str, twin: DType | None = None) -> str:
    """Return `saliency.onnx`, and with `.float32` for the twin over caches of that dtype."""
    return ".".join([name, *([twin] if twin else []), "onnx"])


def write_operation(path: Path, name: str, config: ModelConfig, cache_dtype: DType) -> None:
    """Write the operation `name` (one of `contract.CACHE_OPERATIONS`) over caches of `cache_dtype` to `path`."""
    model = _model(name, BODIES[name](config), config, cache_dtype)
    onnx.checker.check_model(model, full_check=True)
    write_whole(path, model.SerializeToString(), durable=False)


@dataclass(frozen=True)
class Body:
    """What an operation computes: its nodes, and the constants of one integer each that they name."""

    nodes: list[onnx.NodeProto]
    constants: dict[str, int]


def _saliency(config: ModelConfig) -> Body:
    # Products and sums by element instead of a matrix product: a compiler makes one kernel of them, which reads the keys
    # in their own dtype; a product in float32 would need all keys as float32 in memory.
    nodes = [
        helper.make_node("Slice", ["slots", "first", "last", "layers", "two"], ["keys"]),
        helper.make_node("Cast", ["keys"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["queries", "two"], ["spread"]),
        helper.make_node("Mul", ["wide", "spread"], ["products"]),
        helper.make_node("ReduceSum", ["products", "three"], ["by_head"], keepdims=0),
        helper.make_node("ReduceMean", ["by_head", "heads"], ["scores"], keepdims=0),
    ]
    constants = {"first": 0, "last": 2 * config.layers, "layers": 0, "two": 2, "three": 3, "heads": 1}
    return Body(nodes, constants)


def _select(_: ModelConfig) -> Body:
    return Body([helper.make_node("Gather", ["rows", "places"], ["kept"], axis=0)], {})


BODIES: dict[str, Callable[[ModelConfig], Body]] = {"saliency": _saliency, "select": _select}
"""The body of each of `contract.CACHE_OPERATIONS`."""


def _model(name: str, body: Body, config: ModelConfig, cache_dtype: DType) -> onnx.ModelProto:
    inputs, outputs = contract.interface(name, config, cache_dtype, 0)
    values = [helper.make_tensor(constant, TensorProto.INT64, [1], [value]) for constant, value in body.constants.items()]
    graph = helper.make_graph(body.nodes, name, [_value(spec) for spec in inputs], [_value(spec) for spec in outputs], values)
    opset = helper.make_opsetid("", OPSETS["portable"])
    return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSIONS["portable"], producer_name="dllm-edge")


def _value(spec: TensorSpec) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(spec.name, DTYPES[spec.dtype].onnx, spec.axes)
