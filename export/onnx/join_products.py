"""One product instead of several with the same input: fewer nodes to launch, over weights that a bundle stores as one."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ...graphs.joined_weights import stored_weights
from .dequantise import PREFIX
from .gather_embedding import only_consumer
from .unroll import LAYER_WEIGHTS


def join_products(graph: ir.Graph) -> None:
    """Put one product and a Split of its outcome instead of those in a traced layer whose weights are stored joined.

    A traced linear layer is a MatMul with its weight's transpose, which a Cast may precede, and where it has a bias an Add
    after it. Joined weights are inputs of `graph` under the names that they are stored with (`graphs.joined_weights`).
    """
    inputs = {str(value.name).removeprefix(PREFIX): value for value in graph.inputs}
    weights = {name: _shape(value) for name, value in inputs.items() if str(value.name).startswith(LAYER_WEIGHTS.format(0))}
    for name, members in stored_weights(weights, joined=True).items():
        if len(members) > 1 and name.endswith(".weight"):
            _join(graph, name.removesuffix(".weight"), [inputs[member] for member in members])


def _join(graph: ir.Graph, name: str, weights: list[ir.Value]) -> None:
    """Join the linear layers of these weights to the linear layer `name`."""
    layers = [_Linear(weight) for weight in weights]
    first, *others = layers
    sizes = [_shape(weight)[0] for weight in weights]
    parts = [ir.Value(name=layer.outcome.name, type=layer.outcome.type) for layer in layers]
    for layer, part in zip(layers, parts, strict=True):
        layer.outcome.replace_all_uses_with(part)
    first.outcome.name, first.outcome.shape = name.split(".")[-1], None
    split = ir.Node("", "Split", [first.outcome, _constant(graph, sizes, name)], [ir.AttrInt64("axis", -1)], outputs=parts)
    split.name = f"node_Split_{first.outcome.name}"
    graph.insert_after(first.nodes[-1], split)
    _replace(graph, first.weight, f"{PREFIX}{name}.weight", sum(sizes))
    if first.bias is not None:
        _replace(graph, first.bias, f"{PREFIX}{name}.bias", sum(sizes))
    for layer in others:
        graph.remove(list(reversed(layer.nodes)), safe=True)
        for value in (layer.weight, layer.bias):
            if value is not None:
                graph.inputs.remove(value)


class _Linear:
    """A linear layer of a traced graph: its nodes in an order in which they can run, its weight, its bias if it has one."""

    def __init__(self, weight: ir.Value) -> None:
        self.weight = weight
        self.nodes = [only_consumer(weight)]
        while self.nodes[-1].op_type != "MatMul":
            self.nodes.append(only_consumer(self.outcome))
        self.bias = self._take_bias()

    @property
    def outcome(self) -> ir.Value:
        return self.nodes[-1].outputs[0]

    def _take_bias(self) -> ir.Value | None:
        consumers = [node for node, _ in self.outcome.uses()]
        if len(consumers) != 1 or consumers[0].op_type != "Add":
            return None
        (other,) = (value for value in consumers[0].inputs if value is not None and value is not self.outcome)
        cast = other.producer()
        source = cast.inputs[0] if cast is not None and cast.op_type == "Cast" else other
        if source is None or source.name != str(self.weight.name).removesuffix("weight") + "bias":
            return None
        self.nodes += [*([] if cast is None else [cast]), consumers[0]]
        return source


def _constant(graph: ir.Graph, sizes: list[int], name: str) -> ir.Value:
    constant = f"{name.split('.')[-1]}.sizes"
    value = ir.Value(name=constant, const_value=ir.tensor(np.array(sizes, np.int64), name=constant))
    graph.register_initializer(value)
    return value


def _replace(graph: ir.Graph, value: ir.Value, name: str, rows: int) -> None:
    """Put an input of `name` with so many rows instead of `value`; what is computed of it forgets its shape."""
    new = ir.Value(name=name, shape=ir.Shape((rows, *_shape(value)[1:])), type=value.type)
    graph.inputs[list(graph.inputs).index(value)] = new
    value.replace_all_uses_with(new)


def _shape(value: ir.Value) -> tuple[int, ...]:
    assert value.shape is not None
    return value.shape.numpy()
