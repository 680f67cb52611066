from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime

from dllm_edge.export.onnx.gather_embedding import gather_rows
from dllm_edge.export.weights.embedding_words import to_words
from dllm_edge.graphs.weight_formats import WeightFormat

from ..weights.test_embedding_words import extremes


def test_the_graph_takes_words_apart_exactly() -> None:
    integers = extremes()
    ids = ir.Value(name="ids", shape=ir.Shape(("B", "Q")), type=ir.TensorType(ir.DataType.INT64))
    weight = ir.Value(name="w")
    old = ir.node("Gather", [weight, ids])
    after = ir.node("Identity", [old.outputs[0]])
    after.outputs[0].name, after.outputs[0].type = "rows", ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph([ids], after.outputs, nodes=[old, after], opset_imports={"": 18})
    tensors = {"words": to_words(integers).numpy(), "scales": np.ones((len(integers), 1), np.float32)}
    values = {
        name: ir.Value(name=name, const_value=ir.tensor(array, name=name), type=ir.TensorType(ir.tensor(array).dtype))
        for name, array in tensors.items()
    }
    for value in values.values():
        graph.register_initializer(value)
    gather_rows(graph, weight, values["words"], values["scales"], WeightFormat("int8", 32), 32)
    model = ir.to_proto(ir.Model(graph, ir_version=8)).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (rows,) = session.run(None, {"ids": np.arange(len(integers))[None]})
    np.testing.assert_array_equal(rows[0], integers.numpy())
