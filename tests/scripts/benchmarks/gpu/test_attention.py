"""Both forms of attention give the same numbers."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from dllm_edge.scripts.benchmarks.gpu.attention import FORMS

from .attention_inputs import ATTENTION, arrays, by_hand


@pytest.mark.parametrize("form", FORMS)
def test_forms_are_attention(form: str) -> None:
    graph = ATTENTION.graph(form)
    onnx.checker.check_model(graph, full_check=True)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = arrays(16)
    (attended,) = session.run(None, inputs)
    assert np.allclose(attended, by_hand(inputs), atol=1e-5)
    assert [node.op_type for node in graph.graph.node].count("Concat") == (1 if form == "scores" else 2)
