from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime
import torch

from dllm_edge.export.weights.embedding_words import from_words, gather_rows, to_words
from dllm_edge.graphs.weight_formats import WeightFormat


def extremes() -> torch.Tensor:
    """Rows with every combination of the extremes among a word's four integers, then random ones."""
    values = torch.tensor([-127, -1, 0, 1, 127], dtype=torch.int8)
    corners = torch.cartesian_prod(values, values, values, values)
    noise = torch.randint(-127, 128, (64, 4), dtype=torch.int8, generator=torch.Generator().manual_seed(2))
    return torch.cat((corners, noise)).repeat_interleave(8, dim=1)


def test_words_hold_their_integers() -> None:
    integers = extremes()
    words = to_words(integers)
    assert (words.dtype, words.shape) == (torch.int32, (len(integers), 8))
    assert torch.equal(from_words(words), integers)
    assert to_words(torch.tensor([[1, 2, 3, -4]], dtype=torch.int8)).item() == 128 + (129 << 8) + (130 << 16) - (4 << 24)


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
