"""TensorRT and TensorRT for RTX, on a GPU."""

from __future__ import annotations

from ...bundle.bundle import Bundle
from ..backend import Backend
from ..base import Engine


def _open(bundle: Bundle, name: str, device: str, threads: int, compute_dtype: str | None) -> Engine:
    """`tensorrt` is either of the two: the one that is installed, and that the bundle has an engine of."""
    from .open import open_tensorrt

    return open_tensorrt(bundle, None if name == "tensorrt" else name, compute_dtype)


BACKEND = Backend(("tensorrt", "tensorrt-rtx"), ("cuda",), _open)
