"""The engines, by name, and opening a bundle on one of them."""

from __future__ import annotations

from ...graphs.errors import DllmEdgeError, unknown
from ...graphs.schema import text, whole_number
from ..bundle.bundle import Bundle
from .backend import Backend
from .base import Engine
from .onnxruntime.backend import BACKEND as ONNXRUNTIME
from .tensorrt.backend import BACKEND as TENSORRT

MOST_THREADS = 1024  # more than any processor has; ONNX Runtime would begin whatever number it is told

BACKENDS: dict[str, Backend] = {name: backend for backend in (ONNXRUNTIME, TENSORRT) for name in backend.names}


def open_engine(
    bundle: Bundle, name: str, device: str | None = None, threads: int = 0, compute_dtype: str | None = None
) -> Engine:
    """Open a bundle on the engine `name`, on `device` or the one that the engine prefers.

    `threads` within an operator are a CPU's (0: all cores). `compute_dtype` is that of graphs and caches: by default float32
    on a CPU, and what the bundle was exported for on a GPU. Raises `DllmEdgeError` for an unknown engine or device, and for
    what this machine lacks.
    """
    device = choose_device(name, device)
    if compute_dtype is not None:
        text(compute_dtype, "compute")
    threads = whole_number(threads, "threads", most=MOST_THREADS)
    return BACKENDS[name].open(bundle, name, device, threads, compute_dtype)


def choose_device(name: str, device: str | None = None) -> str:
    """Return the device that the engine `name` runs on; raises `DllmEdgeError` for an unknown engine or device."""
    if text(name, "engine") not in BACKENDS:
        raise unknown("engine", name, BACKENDS)
    devices = BACKENDS[name].devices
    if device is not None and text(device, "device") not in devices:
        raise DllmEdgeError(f"{name} does not run on device '{device:.80}': use {' or '.join(devices)}")
    return device or devices[0]
