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
from ..sizes import RoundedSizes, slot_multiple
from .cpu import open_session
from .executor import OnnxRuntimeExecutor

PROVIDER = "CUDAExecutionProvider"
INSTALL = (
    "'pip uninstall onnxruntime', then 'pip install --force-reinstall onnxruntime-gpu': the two put their files in one folder"
)
# What the names of nodes begin with that compute shapes, which belong on the host.
SHAPE_WORK = "shape."
RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"


def open_cuda(bundle: Bundle, compute_dtype: str | None = None, flavour: str | None = None) -> DeviceEngine:
    """Open the engine of `bundle` on the first GPU; raises `DllmEdgeError` where ONNX Runtime cannot run all of it there.

    `compute_dtype` is that of graphs and caches, by default the bundle's; `flavour` overrides the choice: the fused one
    where the provider has all its operators, else the portable one.
    """
    _check_provider()
    onnxruntime.preload_dlls()  # those that pip has installed, where nobody has loaded them
    device = CudaDevice()
    dtype = bundle.graph(["fused", "portable"], compute_dtype or bundle.manifest.compute).compute
    provider = cuda_provider(device)
    sessions = {name: _open(bundle, bundle.graph(["portable"], dtype, name), provider) for name in ("saliency", "select")}
    sessions["step"] = _first_that_fits(bundle, dtype, [flavour] if flavour else ["fused", "portable"], provider)
    candidates = bundle.manifest.candidates
    specs = {name: contract.interface(name, bundle.config, dtype, candidates) for name in sessions}
    executor, sizes = OnnxRuntimeExecutor(sessions, specs, "cuda"), RoundedSizes(slot_multiple(bundle.config))
    return DeviceEngine("onnxruntime-cuda", bundle.config, dtype, candidates, device, executor, sizes)


def cuda_provider(device: CudaDevice) -> tuple[str, dict[str, str]]:
    """Return the provider over the device's own stream, with its options: float32 is computed in float32, not in TF32."""
    return PROVIDER, {"device_id": "0", "user_compute_stream": str(device.stream), "use_tf32": "0"}


def _check_provider() -> None:
    if PROVIDER not in onnxruntime.get_available_providers():
        raise DllmEdgeError(f"this ONNX Runtime {onnxruntime.__version__} has no CUDA provider: {INSTALL}")
    if not hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"):
        raise DllmEdgeError(
            f"ONNX Runtime {onnxruntime.__version__} does not say which operators it runs where: install onnxruntime-gpu 1.24 "
            "or later, which needs Python 3.11"
        )


def _first_that_fits(bundle: Bundle, dtype: DType, flavours: list[str], provider: Any) -> onnxruntime.InferenceSession:
    try:
        return _open(bundle, bundle.graph(flavours[:1], dtype), provider)
    except DllmEdgeError as error:
        if len(flavours) == 1:
            raise
        warnings.warn(f"{error}; trying the {flavours[1]} flavour", stacklevel=3)
    return _first_that_fits(bundle, dtype, flavours[1:], provider)


def _open(bundle: Bundle, graph: GraphFile, provider: Any) -> onnxruntime.InferenceSession:
    """Open a session all of whose work is on the GPU."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(RECORD_ASSIGNMENT, "1")
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
    """Return the operators that would run on the CPU, but for those of shapes; `assigned` is ONNX Runtime's report."""
    nodes = (node for part in assigned if part.ep_name == "CPUExecutionProvider" for node in part.get_nodes())
    return sorted({node.op_type for node in nodes if not node.name.startswith(SHAPE_WORK)})
