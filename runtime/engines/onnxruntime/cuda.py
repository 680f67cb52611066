"""The step graph on ONNX Runtime's CUDA provider: what runs everything on a data-center GPU without TensorRT."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnxruntime

from ....graphs import contract
from ....graphs.contract import Profile
from ....graphs.dtypes import DType
from ....graphs.errors import DllmEdgeError
from ...bundle.bundle import Bundle
from ...bundle.manifest import GraphFile
from ..base import Lanes
from ..device.cuda import CudaDevice
from ..device.engine import DeviceEngine
from ..sizes import RoundedSizes, slot_multiple
from .cpu import open_session
from .cuda_libraries import CUDNN_INSTALL, cudnn, load_cuda_libraries
from .executor import OnnxRuntimeExecutor

PROVIDER = "CUDAExecutionProvider"
INSTALL = (
    "'pip uninstall onnxruntime', then 'pip install --force-reinstall onnxruntime-gpu': the two put their files in one folder"
)
# What the names of nodes begin with that compute shapes, which belong on the host.
SHAPE_WORK = "shape."
RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"
# Weights are taken once and stay: from an arena that grows in doublings they would take up to twice their bytes.
WEIGHTS_OUTSIDE_ARENA = "session.use_device_allocator_for_initializers"


def open_cuda(bundle: Bundle, compute_dtype: str | None = None, flavour: str | None = None) -> DeviceEngine:
    """Open the engine of `bundle` on the first GPU; raises `DllmEdgeError` where ONNX Runtime cannot run all of it there.

    `compute_dtype` is that of graphs and caches, by default the bundle's where the provider computes in it; `flavour`
    overrides the choice: the fused one where the provider has all its operators, else the portable one.
    """
    _check_provider()
    load_cuda_libraries()
    device = CudaDevice()
    dtype = _compute_dtype(bundle, compute_dtype)
    provider = cuda_provider(device)
    sessions = {name: _open(bundle, bundle.graph(["portable"], dtype, name), provider) for name in ("saliency", "select")}
    sessions["step"] = _first_that_fits(bundle, dtype, [flavour] if flavour else ["fused", "portable"], provider)
    candidates = bundle.manifest.candidates
    specs = {name: contract.interface(name, bundle.config, dtype, candidates) for name in sessions}
    executor, sizes = OnnxRuntimeExecutor(sessions, specs, "cuda"), RoundedSizes(slot_multiple(bundle.config))
    engine = DeviceEngine("onnxruntime-cuda", bundle.config, dtype, candidates, device, executor, sizes)
    _try_graphs(engine)
    return engine


def _compute_dtype(bundle: Bundle, wanted: str | None) -> DType:
    """Return the dtype to compute in; weights of integers are never dequantised to bfloat16, for which there is no kernel."""
    dtype = wanted or bundle.manifest.compute
    if dtype == "bfloat16" and bundle.manifest.weights.quantised:
        reason = "ONNX Runtime's CUDA provider does not compute in bfloat16 over weights of integers"
        if wanted:
            raise DllmEdgeError(f"{bundle.path}: {reason}: use --compute float32, which every bundle has, or --engine tensorrt")
        warnings.warn(f"{reason}: computing in float32, with caches of twice the size", stacklevel=3)
        dtype = "float32"
    return bundle.graph(["fused", "portable"], dtype).compute


def _try_graphs(engine: DeviceEngine) -> None:
    """Run each graph once; raises `DllmEdgeError` where one fails: some libraries are only looked for when a kernel runs."""
    profile = engine.profile(Profile(1, 1, 1, 1))
    old, new = (Lanes(engine.new_cache(1, profile.capacity), 0, 1) for _ in range(2))
    config = engine.config
    try:
        engine.run(profile, None)
        engine.saliency(old, np.zeros((config.layers, config.kv_heads, config.head_dim), dtype=np.float32))
        engine.select(old, np.zeros((config.layers, 1), dtype=np.int64), new)
    except DllmEdgeError as error:
        if cudnn() is None:
            raise DllmEdgeError(f"ONNX Runtime's CUDA provider does not find cuDNN 9: {CUDNN_INSTALL}") from error
        raise


def cuda_provider(device: CudaDevice) -> tuple[str, dict[str, str]]:
    """Return the provider with its options.

    All is done in the device's stream; float32 is computed in float32, not in TF32; the arena grows by what is asked for.
    """
    stream, growth = str(device.stream), "kSameAsRequested"
    return PROVIDER, {"device_id": "0", "user_compute_stream": stream, "use_tf32": "0", "arena_extend_strategy": growth}


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
    options.add_session_config_entry(WEIGHTS_OUTSIDE_ARENA, "1")
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
