"""From the traced one-layer step to the graph of the whole model: the marked layer, repeated."""

from __future__ import annotations

import onnx_ir as ir

from ...graphs import contract
from .trace import LAYER_BEGINS, LAYER_ENDS, MARKS

LAYER_WEIGHTS = "transformer.layers.{}."


def hidden_name(layer: int) -> str:
    """Return the name of the residual stream after a layer: a value within the graph, `[B, Q, hidden]` float32."""
    return f"layers.{layer}.hidden"


def unroll(graph: ir.Graph, layers: int) -> None:
    """Repeat the marked layer of `graph` in place until it has `layers` of them, and take the marks out.

    A node belongs to the layer if it depends on what enters the layer: the residual stream, the layer's cache, its
    weights. Four values leave it: the residual stream, its new keys and values, its part of `saliency_queries`.
    The residual stream after layer i is named as `hidden_name` says.
    """
    begins, ends = _mark_node(graph, LAYER_BEGINS), _mark_node(graph, LAYER_ENDS)
    entering, leaving = begins.outputs[0], _single(ends.inputs[0])
    saliency = next(value for value in graph.outputs if value.name == "saliency_queries")
    weights = [value for value in graph.inputs if _name(value).startswith(LAYER_WEIGHTS.format(0))]
    past = [value for value in graph.inputs if value.name in contract.past_names(0)]
    nodes = _depending_on(graph, [entering, *weights, *past], ends)
    for value in (value for node in nodes for value in node.outputs):
        if value.name not in contract.new_names(0):
            value.name = "layers.0." + _name(value)
    leaving.name, saliency.name = hidden_name(0), "layers.0.saliency"
    residual, parts = leaving, [saliency]
    for layer in range(1, layers):
        values: dict[ir.Value, ir.Value] = {entering: residual}
        for value in (*weights, *past):
            values[value] = ir.Value(name=_of_layer(value, layer), shape=value.shape, type=value.type)
            graph.inputs.append(values[value])
        for node in nodes:
            graph.insert_before(ends, _repeated(node, values, layer))
        graph.outputs.extend(values[value] for value in list(graph.outputs) if value.name in contract.new_names(0))
        residual = values[leaving]
        parts.append(values[saliency])
    ends.outputs[0].replace_all_uses_with(residual)
    entering.replace_all_uses_with(_single(begins.inputs[0]))
    graph.remove((begins, ends), safe=True)
    stacked = ir.node("Concat", parts, {"axis": 1}, name="saliency_queries")
    stacked.outputs[0].name, stacked.outputs[0].type, stacked.outputs[0].shape = (
        "saliency_queries",
        saliency.type,
        saliency.shape,
    )
    graph.append(stacked)
    graph.outputs[list(graph.outputs).index(saliency)] = stacked.outputs[0]
    graph.sort()


def _mark_node(graph: ir.Graph, name: str) -> ir.Node:
    (node,) = (node for node in graph if node.domain == MARKS and node.op_type == name)
    return node


def _depending_on(graph: ir.Graph, sources: list[ir.Value], end: ir.Node) -> list[ir.Node]:
    reached = set(sources)
    nodes = []
    for node in graph:
        if node is not end and any(value in reached for value in node.inputs if value is not None):
            nodes.append(node)
            reached.update(node.outputs)
    return nodes


def _repeated(node: ir.Node, values: dict[ir.Value, ir.Value], layer: int) -> ir.Node:
    inputs = [None if value is None else values.get(value, value) for value in node.inputs]
    outputs = [ir.Value(name=_of_layer(value, layer), shape=value.shape, type=value.type) for value in node.outputs]
    values.update(zip(node.outputs, outputs, strict=True))
    return ir.Node(
        node.domain, node.op_type, inputs, node.attributes.values(), outputs=outputs, name=f"layers.{layer}.{node.name}"
    )


def _of_layer(value: ir.Value, layer: int) -> str:
    return _name(value).replace("layers.0.", f"layers.{layer}.", 1).replace("key_values.0.", f"key_values.{layer}.", 1)


def _single(value: ir.Value | None) -> ir.Value:
    assert value is not None
    return value


def _name(value: ir.Value) -> str:
    assert value.name is not None
    return value.name
