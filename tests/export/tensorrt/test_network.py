from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest

from dllm_edge.export.tensorrt.build import build_engine
from dllm_edge.export.tensorrt.compilation import Compilation
from dllm_edge.export.tensorrt.options import BuildOptions
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.tensorrt.library import Library

from .builds import SMALL, entries


def edited(bundle: Bundle, file: str, edit: Callable[[onnx.ModelProto], object]) -> Bundle:
    """The bundle as opened before its graph was edited."""
    model = onnx.load(str(bundle.path / file), load_external_data=False)
    edit(model)
    (bundle.path / file).write_bytes(model.SerializeToString())
    return bundle


def foreign_operator(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.op_type == "Sigmoid").op_type = "Bernoulli"


def rename_output(model: onnx.ModelProto) -> None:
    name = model.graph.output[3].name
    next(node for node in model.graph.node if name in node.output).output[0] = "surprise"
    model.graph.output[3].name = "surprise"


def shift_weights(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "weights/other.safetensors"


@pytest.mark.parametrize(
    ("edit", "flavour", "message"),
    [
        (
            foreign_operator,
            "fused",
            r"does not take Bernoulli \(node .*\): .*: build the portable flavour with --flavour portable",
        ),
        (foreign_operator, "portable", r"does not take Bernoulli \(node .*\): .*: upgrade tensorrt-rtx, or report it"),
        (
            rename_output,
            "fused",
            r"another network of it, with other outputs \(surprise, target_log_probs\): the file step.onnx is damaged",
        ),
        (shift_weights, "fused", "step.onnx: TensorRT-RTX"),
    ],
)
def test_a_graph_that_is_not_taken(
    bundle: Bundle, rtx: Library, edit: Callable[[onnx.ModelProto], object], flavour: str, message: str
) -> None:
    file = "step.onnx" if flavour == "fused" else "step.portable.onnx"
    with pytest.raises(DllmEdgeError, match=message) as raised:
        build_engine(Compilation(edited(bundle, file, edit), rtx, ("sm86",), BuildOptions(flavour=flavour)), SMALL)
    assert "\n" not in str(raised.value)
    assert entries(bundle) == []


def test_profiles_that_do_not_fit_the_graph(bundle: Bundle, rtx: Library) -> None:
    def fix_queries(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 16

    with pytest.raises(DllmEdgeError, match=r"whose input input_ids is INT64 \[-1, 16\] and should be INT64 \[-1, -1\]"):
        build_engine(Compilation(edited(bundle, "step.onnx", fix_queries), rtx, ("sm86",), BuildOptions()), SMALL)
