"""The step graph on ONNX Runtime's CUDA provider: what runs everything on a data-center GPU without TensorRT."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import onnxruntime

from ....graphs import contract
from ....graphs.dtypes import DType
from ....graphs.errors import DllmEdgeError
from ...bundle.bundle import Bundle
from ...bundle.manifest import GraphFile
from ..device.cuda import CudaDevice
from ..device.engine import DeviceEngine
from ..sizes import ExactSizes, slot_step
from .cpu import open_session
from .executor import OnnxRuntimeExecutor

PROVIDER = "CUDAExecutionProvider"
INSTALL = (
    "'pip uninstall onnxruntime', then 'pip install --force-reinstall onnxruntime-gpu': the two put their files in one place"
)
# What the names of nodes begin with that compute shapes, which belong on the host.
SHAPE_WORK = "shape."
RECORD_PLACES = "session.record_ep_graph_assignment_info"


def open_cuda(bundle: Bundle, compute: str | None = None, flavour: str | None = None) -> DeviceEngine:
    """The engine of `bundle` on the first GPU; raises `DllmEdgeError` where ONNX Runtime cannot run all of it there.

    `compute` is what graphs and caches compute in, by default what the bundle does; `flavour` overrides the choice: the
    fused one where the provider has all its operators, else the portable one.
    """
    if PROVIDER not in onnxruntime.get_available_providers():
        raise DllmEdgeError(f"this ONNX Runtime {onnxruntime.__version__} has no CUDA provider: {INSTALL}")
    if not hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"):
        raise DllmEdgeError(
            f"ONNX Runtime {onnxruntime.__version__} does not say which operators it runs where: install onnxruntime-gpu 1.24 "
            "or later, which needs Python 3.11"
        )
    onnxruntime.preload_dlls()  # those that pip has installed, where nobody has loaded them
    device = CudaDevice()
    cache = bundle.graph(["fused", "portable"], compute or bundle.manifest.compute).compute
    provider = (PROVIDER, {"device_id": "0", "user_compute_stream": str(device.stream)})
    sessions = {name: _open(bundle, bundle.graph(["portable"], cache, name), provider) for name in ("saliency", "select")}
    sessions["step"] = _first_that_fits(bundle, cache, [flavour] if flavour else ["fused", "portable"], provider)
    candidates = bundle.manifest.candidates
    specs = {name: contract.interface(name, bundle.config, cache, candidates) for name in sessions}
    executor, sizes = OnnxRuntimeExecutor(sessions, specs, "cuda"), ExactSizes(slot_step(bundle.config))
    return DeviceEngine("onnxruntime-cuda", bundle.config, cache, candidates, device, executor, sizes)


def _first_that_fits(bundle: Bundle, cache: DType, flavours: list[str], provider: Any) -> onnxruntime.InferenceSession:
    try:
        return _open(bundle, bundle.graph(flavours[:1], cache), provider)
    except DllmEdgeError as error:
        if len(flavours) == 1:
            raise
        warnings.warn(f"{error}; trying the {flavours[1]} flavour", stacklevel=3)
    return _first_that_fits(bundle, cache, flavours[1:], provider)


def _open(bundle: Bundle, graph: GraphFile, provider: Any) -> onnxruntime.InferenceSession:
    """A session all of whose work is on the GPU."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(RECORD_PLACES, "1")
    session = open_session(bundle, graph, options, [provider, "CPUExecutionProvider"])
    if PROVIDER not in session.get_providers():
        raise DllmEdgeError(f"ONNX Runtime's CUDA provider did not load: see 'dllm-edge doctor'; or {INSTALL}")
    if left := left_on_host(session.get_provider_graph_assignment_info()):
        raise DllmEdgeError(
            f"{bundle.path / graph.file}: ONNX Runtime {onnxruntime.__version__} has no CUDA kernel for {', '.join(left)} in "
            f"{graph.compute}: use a newer onnxruntime-gpu, or another --flavour or --dtype at export"
        )
    return session


def left_on_host(assigned: Iterable[Any]) -> list[str]:
    """Operators that would run on the CPU, other than those that compute shapes; `assigned` as ONNX Runtime reports it."""
    nodes = (node for part in assigned if part.ep_name == "CPUExecutionProvider" for node in part.get_nodes())
    return sorted({node.op_type for node in nodes if not node.name.startswith(SHAPE_WORK)})
