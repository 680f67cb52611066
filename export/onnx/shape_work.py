"""Which nodes of a graph compute shapes: the only work of a step that may be done on the host of a GPU."""

from __future__ import annotations

import onnx_ir as ir

from ...runtime.engines.onnxruntime.cuda import SHAPE_WORK


def name_shape_work(graph: ir.Graph) -> None:
    """Let the names of nodes that depend on nothing but shapes and constants begin with `SHAPE_WORK`; `graph` is sorted."""
    sizes: set[ir.Value] = set()
    for node in graph:
        inputs = [value for value in node.inputs if value is not None]
        from_sizes = any(value in sizes for value in inputs) and all(value in sizes or _constant(value) for value in inputs)
        if node.op_type == "Shape" or from_sizes:
            node.name = SHAPE_WORK + str(node.name)
            sizes.update(node.outputs)


def _constant(value: ir.Value) -> bool:
    producer = value.producer()
    return value.is_initializer() or (producer is not None and producer.op_type == "Constant")
