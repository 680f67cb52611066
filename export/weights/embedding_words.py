"""An embedding as integers: rows of int8 in words of int32, since TensorRT gathers rows of int32 but none of int8.

Word i of a row of H weights holds four of them, those at i, i + H/4, i + H/2 and i + 3H/4, the last in the highest byte.
The first three are stored with 127 added, so that they are never negative: with `low` below 2^24 - 2^16, a word rounded to
float32 still shows its highest byte. Every step from a word to its weights is exact.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from ...graphs.weight_formats import WeightFormat

BIAS = 127
FLOAT = ir.DataType.FLOAT


def to_words(integers: Tensor) -> Tensor:
    """Words `[V, H / 4]` int32 of integers `[V, H]` int8, from -127 to 127."""
    quarters = integers.to(torch.int32).unflatten(1, (4, -1))
    low = quarters[:, :3] + BIAS
    words: Tensor = low[:, 0] + (low[:, 1] << 8) + (low[:, 2] << 16) + (quarters[:, 3] << 24)
    return words


def from_words(words: Tensor) -> Tensor:
    """The integers of `to_words`."""
    low = torch.stack((words & 255, (words >> 8) & 255, (words >> 16) & 255), 1) - BIAS
    return torch.cat((low, (words >> 24).unsqueeze(1)), 1).flatten(1).to(torch.int8)


class _Nodes:
    """New nodes of a graph in their order, with names after the weight's."""

    def __init__(self, graph: ir.Graph, name: str) -> None:
        self.graph, self.name, self.nodes = graph, name, list[ir.Node]()

    def add(self, kind: str, *inputs: ir.Value, **attributes: int) -> ir.Value:
        name = f"{self.name}.{len(self.nodes)}"
        self.nodes.append(ir.node(kind, inputs, attributes, name=name))
        output = self.nodes[-1].outputs[0]
        output.name = name
        return output

    def constant(self, what: str, value: float | list[int], kind: type[np.generic] = np.float32) -> ir.Value:
        name = f"{self.name}.{what}"
        found = ir.Value(name=name, const_value=ir.tensor(np.array(value, kind), name=name))
        self.graph.register_initializer(found)
        return found


def gather_rows(
    graph: ir.Graph, weight: ir.Value, words: ir.Value, scales: ir.Value, weight_format: WeightFormat, width: int
) -> None:
    """The rows of `weight` that the graph gathers come from `words` and `scales`, in float32; `width` is theirs."""
    old = [only_consumer(weight)]
    assert old[0].op_type == "Gather"
    after = list(old[0].outputs[0].consumers())
    if len(after) == 1 and after[0].op_type == "Cast":
        old.append(after[0])
    ids = old[0].inputs[1]
    assert ids is not None
    nodes = _Nodes(graph, str(weight.name))
    integers = _unpacked(nodes, nodes.add("Gather", words, ids))
    found = nodes.add("Gather", scales, ids)
    if scales.dtype != FLOAT:
        found = nodes.add("Cast", found, to=FLOAT)
    groups = nodes.constant("groups", [0, 0, width // weight_format.group, weight_format.group], np.int64)
    grouped = nodes.add("Reshape", integers, groups)
    scaled = nodes.add("Mul", grouped, nodes.add("Unsqueeze", found, nodes.constant("last", [-1], np.int64)))
    rows = nodes.add("Reshape", scaled, nodes.constant("row", [0, 0, width], np.int64))
    graph.insert_before(old[0], nodes.nodes)
    old[-1].outputs[0].replace_all_uses_with(rows)
    graph.remove(list(reversed(old)), safe=True)


def _unpacked(nodes: _Nodes, words: ir.Value) -> ir.Value:
    """The integers of words, as float32."""
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
    """The one node that takes a weight."""
    (node,) = value.consumers()
    return node
