"""One layer's attention in two forms: over keys and values put together, and over scores put together, which copies no cache.

Both are ONNX graphs of the portable operators, written here, with the heads of a group folded into query rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper

from ....graphs.contract import TensorSpec
from ....graphs.dtypes import DTYPES, DType

FORMS = ("keys and values", "scores")
# Multi-head attention and grouped queries, as LLaDA 8B and Fast-dLLM v2 1.5B have them: heads, those of keys, head size.
HEADS = {"32 heads": (32, 32, 128), "12 heads over 2": (12, 2, 128)}


@dataclass(frozen=True)
class Attention:
    heads: int
    kv_heads: int
    head_dim: int
    queries: int
    compute: DType

    @property
    def rows(self) -> int:
        """Query rows of a key head: its group's heads, one after the other."""
        return self.heads // self.kv_heads * self.queries

    def specs(self) -> tuple[list[TensorSpec], list[TensorSpec]]:
        """Return the inputs and the outputs; `C` is the number of cached slots."""
        dtype, heads, size = self.compute, self.kv_heads, self.head_dim
        inputs = [TensorSpec("query", dtype, (1, heads, self.rows, size))]
        inputs += [TensorSpec(f"past_{name}", dtype, (1, heads, "C", size)) for name in ("key", "value")]
        inputs += [TensorSpec(f"new_{name}", dtype, (1, heads, self.queries, size)) for name in ("key", "value")]
        return inputs, [TensorSpec("attended", dtype, (1, heads, self.rows, size))]

    def graph(self, form: str) -> onnx.ModelProto:
        nodes = _scaled(self) + (_over_scores(self) if form == "scores" else _over_keys(self))
        inputs, outputs = (list(map(_value, specs)) for specs in self.specs())
        constants = [helper.make_tensor("scale", TensorProto.FLOAT, [], [1 / math.sqrt(self.head_dim)])]
        constants += [helper.make_tensor("queries", TensorProto.INT64, [1], [-self.queries])]
        constants += [helper.make_tensor(name, TensorProto.INT64, [1], [value]) for name, value in _SLICES.items()]
        graph = helper.make_graph(nodes, "attention", inputs, outputs, initializer=constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


_SLICES = {"zero": 0, "last": 3, "end": 1 << 31}


def _value(spec: TensorSpec) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(spec.name, DTYPES[spec.dtype].onnx, spec.axes)


def _scaled(attention: Attention) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", ["scale"], ["narrow_scale"], to=DTYPES[attention.compute].onnx),
        helper.make_node("Mul", ["query", "narrow_scale"], ["scaled"]),
    ]


def _softmax(attention: Attention, scores: str) -> list[onnx.NodeProto]:
    """In float32, as the portable flavour has it."""
    return [
        helper.make_node("Cast", [scores], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Softmax", ["wide"], ["shares"], axis=-1),
        helper.make_node("Cast", ["shares"], ["weights"], to=DTYPES[attention.compute].onnx),
    ]


def _over_keys(attention: Attention) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Concat", ["past_key", "new_key"], ["key"], axis=2),
        helper.make_node("Concat", ["past_value", "new_value"], ["value"], axis=2),
        helper.make_node("Transpose", ["key"], ["turned"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["scaled", "turned"], ["scores"]),
        *_softmax(attention, "scores"),
        helper.make_node("MatMul", ["weights", "value"], ["attended"]),
    ]


def _over_scores(attention: Attention) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Transpose", ["past_key"], ["past_turned"], perm=[0, 1, 3, 2]),
        helper.make_node("Transpose", ["new_key"], ["new_turned"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["scaled", "past_turned"], ["past_scores"]),
        helper.make_node("MatMul", ["scaled", "new_turned"], ["new_scores"]),
        helper.make_node("Concat", ["past_scores", "new_scores"], ["scores"], axis=3),
        *_softmax(attention, "scores"),
        helper.make_node("Slice", ["weights", "zero", "queries", "last"], ["past_weights"]),
        helper.make_node("Slice", ["weights", "queries", "end", "last"], ["new_weights"]),
        helper.make_node("MatMul", ["past_weights", "past_value"], ["from_past"]),
        helper.make_node("MatMul", ["new_weights", "new_value"], ["from_new"]),
        helper.make_node("Add", ["from_past", "from_new"], ["attended"]),
    ]
