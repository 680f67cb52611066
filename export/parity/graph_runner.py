"""A bundle's graph on ONNX Runtime's CPU provider as a runner of steps; it shows the residual stream after each layer, too."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime

from ...graphs import contract
from ...graphs.dtypes import DTYPES
from ...runtime.arrays import Array
from ...runtime.bundle.bundle import Bundle
from ...runtime.bundle.manifest import GraphFile
from ...runtime.engines.onnxruntime.cpu import INTEGER_WEIGHTS
from ..onnx.unroll import hidden_name
from .runner import StepRunner


def graph_runner(bundle: Bundle, graph: GraphFile) -> StepRunner:
    """Open a session of the graph, whose outputs are followed by the residual after each layer."""
    hidden = [hidden_name(layer) for layer in range(bundle.config.layers)]
    session = _session(bundle, graph, hidden)
    inputs = contract.inputs(bundle.config, graph.compute)
    names = [spec.name for spec in contract.outputs(bundle.config, graph.compute, bundle.manifest.candidates)] + hidden

    def run(arrays: Mapping[str, Array]) -> dict[str, Array]:
        rounded = {spec.name: arrays[spec.name].astype(DTYPES[spec.dtype].numpy) for spec in inputs}
        outputs: list[Array] = session.run(names, rounded)
        return {name: _widened(array) for name, array in zip(names, outputs, strict=True)}

    return run


def _session(bundle: Bundle, graph: GraphFile, hidden: list[str]) -> onnxruntime.InferenceSession:
    model = onnx.load(bundle.path / graph.file, load_external_data=False)
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in hidden)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry(*INTEGER_WEIGHTS)
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(bundle.path.resolve()))
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _widened(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype == np.float16 else array
