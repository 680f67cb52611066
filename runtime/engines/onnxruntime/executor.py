"""A bundle's graphs on ONNX Runtime, over tensors at given addresses: the executor of `--device cuda` without TensorRT."""

from __future__ import annotations

import onnxruntime

from ....graphs.contract import TensorSpec
from ....graphs.dtypes import DTYPES
from ....graphs.errors import DllmEdgeError
from ..base import LoadedGraph
from ..device.base import Launch
from ..profiles import Shapes

Specs = tuple[list[TensorSpec], list[TensorSpec]]
"""A graph's inputs and outputs, as `contract.interface` gives them."""


class OnnxRuntimeExecutor:
    """Sessions by graph; `device` is where their tensors are: `cpu` or `cuda`."""

    # The first run of a shape finds out what memory it takes, and the second takes it as one piece.
    warm_ups = 2

    def __init__(self, sessions: dict[str, onnxruntime.InferenceSession], specs: dict[str, Specs], device: str) -> None:
        self.sessions, self.specs, self.device = sessions, specs, device
        self.recordable = device == "cuda"
        self.versions = {"onnxruntime": onnxruntime.__version__}
        self.options = onnxruntime.RunOptions()
        # The stream is ours: whoever needs the answers waits for it.
        self.options.add_run_config_entry("disable_synchronize_execution_providers", "1" if device == "cuda" else "0")

    def prepare(self, graph: str, shapes: Shapes, addresses: dict[str, int], recorded: bool = False) -> Launch:
        session = self.sessions[graph]
        inputs, outputs = self.specs[graph]
        sizes = _axis_sizes(inputs, shapes)
        binding = session.io_binding()
        for bind, specs in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
            for spec in specs:
                if spec.name in addresses:
                    # By ONNX's own number: numpy has no bfloat16 that ONNX Runtime knows.
                    bind(spec.name, self.device, 0, DTYPES[spec.dtype].onnx, spec.sized(sizes), addresses[spec.name])
        return lambda: self._run(graph, binding)

    def _run(self, graph: str, binding: onnxruntime.IOBinding) -> None:
        try:
            self.sessions[graph].run_with_iobinding(binding, self.options)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise DllmEdgeError(
                f"ONNX Runtime {onnxruntime.__version__} failed running {graph} ({reason}): "
                "'dllm-edge doctor' says what is missing here, 'dllm-edge plan' what fits"
            ) from error

    def loaded(self, graph: str) -> LoadedGraph:
        return LoadedGraph("onnxruntime", self.sessions[graph])


def _axis_sizes(specs: list[TensorSpec], shapes: Shapes) -> dict[str, int]:
    """Return the sizes of the named axes."""
    pairs = (pair for spec in specs for pair in zip(spec.axes, shapes[spec.name], strict=True))
    return {axis: size for axis, size in pairs if isinstance(axis, str)}
