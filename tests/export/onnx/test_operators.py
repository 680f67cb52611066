from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from dllm_edge.export.onnx.operators import CONSTANT_INPUTS, operator_problems, running_types, tensor_types
from dllm_edge.export.tensorrt.operators import operator_dtypes
from dllm_edge.runtime.bundle.bundle import Bundle

BOOL, FLOAT, HALF, INT8, INT64 = (
    TensorProto.BOOL,
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.INT8,
    TensorProto.INT64,
)


def graph_of(operator: str, inputs: list[int], output: int, opset: int = 18, **attributes: Any) -> onnx.ModelProto:
    """A model of one node, whose inputs `a`, `b`, ... have these types."""
    names = "abcd"[: len(inputs)]
    node = helper.make_node(operator, list(names), ["out"], name="node", **attributes)
    values = [helper.make_tensor_value_info(name, number, [2]) for name, number in zip(names, inputs, strict=True)]
    graph = helper.make_graph([node], "one", values, [helper.make_tensor_value_info("out", output, [2])])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


@pytest.mark.parametrize(
    ("model", "types"),
    [
        (graph_of("Add", [HALF, HALF], HALF), {"float16"}),
        (graph_of("Where", [BOOL, FLOAT, FLOAT], FLOAT), {"float32"}),
        (graph_of("Equal", [INT64, INT64], BOOL), {"int64"}),
        (graph_of("Gather", [FLOAT, INT64], FLOAT), {"float32"}),
        (graph_of("Cast", [BOOL], FLOAT, to=FLOAT), {"bool", "float32"}),
        (graph_of("Concat", [BOOL, BOOL], BOOL, axis=0), {"bool"}),
        (graph_of("DequantizeLinear", [INT8, FLOAT], FLOAT), {"int8"}),
        (graph_of("And", [BOOL, BOOL], BOOL), {"bool"}),
        (graph_of("Shape", [HALF], INT64), {"float16"}),
    ],
)
def test_the_types_that_an_operator_runs_in(model: onnx.ModelProto, types: set[str]) -> None:
    node = model.graph.node[0]
    opset = model.opset_import[0].version
    assert running_types(node, onnx.defs.get_schema(node.op_type, opset), tensor_types(model)) == types
    assert list(operator_problems(model, "portable")) == []


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (graph_of("NonZero", [INT64], INT64), "node: NonZero runs in int64, TensorRT takes it in float16, float32"),
        (graph_of("Add", [INT8, INT8], INT8), "node: Add runs in int8"),
        (graph_of("CumSum", [INT64, INT64], INT64), "node: CumSum runs in int64"),
        (graph_of("Softmax", [TensorProto.DOUBLE], TensorProto.DOUBLE), "node: Softmax runs in double"),
        (graph_of("BitwiseNot", [INT64], INT64), "the operator BitwiseNot is not one of the portable flavour"),
        (graph_of("Attention", [FLOAT] * 3, FLOAT, 23), "the operator Attention is not one of the portable flavour"),
    ],
)
def test_what_tensorrt_does_not_take(model: onnx.ModelProto, problem: str) -> None:
    found = list(operator_problems(model, "portable"))
    assert len(found) == 1
    assert problem in found[0]


def test_the_table() -> None:
    table = operator_dtypes("portable")
    assert len(table) == 150
    assert table["MatMul"] == {"float32", "float16", "bfloat16"}
    assert set(CONSTANT_INPUTS) <= table.keys()
    assert set().union(*table.values()) == {
        "float32", "float16", "bfloat16", "float8", "int4", "int8", "uint8", "int32", "int64", "bool",
    }  # fmt: skip
    assert operator_dtypes("fused").keys() - table.keys() == {"Attention", "RMSNormalization"}


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("llada", {}),
        ("llada", {"dtype": "float16"}),
        ("dream", {}),
        ("sdar", {}),
        ("llama", {"flavour": "portable", "tie": True}),
    ],
)
def test_every_graph_of_a_bundle_is_taken(tiny_bundle: Callable[..., Path], family: str, options: dict[str, str]) -> None:
    bundle = Bundle.open(tiny_bundle(family, **options))
    for graph in (graph for graphs in bundle.manifest.graphs.values() for graph in graphs):
        model = onnx.load(str(bundle.path / graph.file), load_external_data=False)
        assert "unknown" not in tensor_types(model).values()
        assert list(operator_problems(model, graph.flavour)) == []
