"""The rows of an embedding that a graph gathers, out of words of four integers (`export.weights.embedding_words`)."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ...graphs.weight_formats import WeightFormat
from ..weights.embedding_words import BIAS

FLOAT = ir.DataType.FLOAT


class _Nodes:
    """New nodes of a graph in their order, with names after the weight's."""

    def __init__(self, graph: ir.Graph, name: str) -> None:
        self.graph, self.name, self.nodes = graph, name, list[ir.Node]()

    def add(self, operator: str, *inputs: ir.Value, **attributes: int) -> ir.Value:
        name = f"{self.name}.{len(self.nodes)}"
        self.nodes.append(ir.node(operator, inputs, attributes, name=name))
        output = self.nodes[-1].outputs[0]
        output.name = name
        return output

    def constant(self, suffix: str, value: float | list[int], dtype: type[np.generic] = np.float32) -> ir.Value:
        name = f"{self.name}.{suffix}"
        constant = ir.Value(name=name, const_value=ir.tensor(np.array(value, dtype), name=name))
        self.graph.register_initializer(constant)
        return constant


def gather_rows(
    graph: ir.Graph, weight: ir.Value, words: ir.Value, scales: ir.Value, weight_format: WeightFormat, width: int
) -> None:
    """Let the rows of `weight` that the graph gathers come from `words` and `scales`, in float32; `width` is theirs."""
    old = [only_consumer(weight)]
    assert old[0].op_type == "Gather"
    after = list(old[0].outputs[0].consumers())
    if len(after) == 1 and after[0].op_type == "Cast":
        old.append(after[0])
    ids = old[0].inputs[1]
    assert ids is not None
    nodes = _Nodes(graph, str(weight.name))
    integers = _unpacked(nodes, nodes.add("Gather", words, ids))
    row_scales = nodes.add("Gather", scales, ids)
    if scales.dtype != FLOAT:
        row_scales = nodes.add("Cast", row_scales, to=FLOAT)
    groups = nodes.constant("groups", [0, 0, width // weight_format.group, weight_format.group], np.int64)
    grouped = nodes.add("Reshape", integers, groups)
    scaled = nodes.add("Mul", grouped, nodes.add("Unsqueeze", row_scales, nodes.constant("last", [-1], np.int64)))
    rows = nodes.add("Reshape", scaled, nodes.constant("row", [0, 0, width], np.int64))
    graph.insert_before(old[0], nodes.nodes)
    old[-1].outputs[0].replace_all_uses_with(rows)
    graph.remove(list(reversed(old)), safe=True)


def _unpacked(nodes: _Nodes, words: ir.Value) -> ir.Value:
    """Return the integers of words, as float32."""
    highest = nodes.add("Floor", nodes.add("Mul", nodes.add("Cast", words, to=FLOAT), nodes.constant("above24", 2.0**-24)))
    above = nodes.add("Mul", nodes.add("Cast", highest, to=ir.DataType.INT32), nodes.constant("byte24", 1 << 24, np.int32))
    rest = nodes.add("Cast", nodes.add("Sub", words, above), to=FLOAT)
    third = nodes.add("Floor", nodes.add("Mul", rest, nodes.constant("above16", 2.0**-16)))
    rest = nodes.add("Sub", rest, nodes.add("Mul", third, nodes.constant("byte16", 2.0**16)))
    second = nodes.add("Floor", nodes.add("Mul", rest, nodes.constant("above8", 2.0**-8)))
    first = nodes.add("Sub", rest, nodes.add("Mul", second, nodes.constant("byte8", 2.0**8)))
    low = nodes.add("Sub", nodes.add("Concat", first, second, third, axis=-1), nodes.constant("bias", float(BIAS)))
    return nodes.add("Concat", low, highest, axis=-1)


def only_consumer(value: ir.Value) -> ir.Node:
    """Return the one node that takes a weight."""
    (node,) = value.consumers()
    return node
