"""ONNX Runtime, on a CPU or a GPU."""

from __future__ import annotations

from ...bundle.bundle import Bundle
from ..backend import Backend
from ..base import Engine
from .installation import require_onnxruntime


def _open(bundle: Bundle, name: str, device: str, threads: int, compute_dtype: str | None) -> Engine:
    require_onnxruntime(device)
    if device == "cuda":
        from .cuda import open_cuda

        return open_cuda(bundle, compute_dtype)
    from .cpu import OnnxRuntimeEngine

    return OnnxRuntimeEngine(bundle, threads, compute_dtype=compute_dtype or "float32")


BACKEND = Backend(("onnxruntime",), ("cpu", "cuda"), _open)
