"""Which nodes are named as those that compute shapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from dllm_edge.runtime.engines.onnxruntime.cuda import SHAPE_WORK


@pytest.mark.parametrize("file", ["step.onnx", "step.portable.onnx"])
def test_nothing_but_shapes(tiny_bundle: Callable[..., Path], file: str) -> None:
    """By what they give: whole numbers of one axis at most, from nothing that a step is fed with."""
    model = onnx.shape_inference.infer_shapes(onnx.load(tiny_bundle("dream") / file, load_external_data=False))
    named = [node for node in model.graph.node if node.name.startswith(SHAPE_WORK)]
    kinds = {value.name: value.type.tensor_type for value in model.graph.value_info}
    assert {"Shape", "Concat"} <= {node.op_type for node in named}
    for kind in (kinds[output] for node in named for output in node.output):
        assert (kind.elem_type, len(kind.shape.dim) <= 1) == (onnx.TensorProto.INT64, True)
    fed = {value.name for value in model.graph.input}
    assert not [node.name for node in named if node.op_type != "Shape" and fed & set(node.input)]
    assert all(node in named for node in model.graph.node if node.op_type == "Shape")
