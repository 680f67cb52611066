"""The CUDA libraries that ONNX Runtime's provider needs, where nobody has loaded them yet."""

from __future__ import annotations

import ctypes
import sys
from contextlib import redirect_stdout, suppress

import onnxruntime

CUDNN_INSTALL = (
    "pip install 'nvidia-cudnn-cu13==9.*' for CUDA 13, 'nvidia-cudnn-cu12==9.*' for CUDA 12, or the system's package"
)
# By the names, in order, that the provider looks for.
CUDNN = ("libcudnn.so.9", "libcudnn.so")


def load_cuda_libraries() -> None:
    """Load those that pip has installed; what is missing is said on stderr, and by whoever needs it."""
    with redirect_stdout(sys.stderr):
        onnxruntime.preload_dlls()


def cudnn() -> str | None:
    """Return the name by which cuDNN is found; None where it is not. The provider opens without it, and fails in a step."""
    load_cuda_libraries()
    for name in CUDNN:
        with suppress(OSError):
            ctypes.CDLL(name)
            return name
    return None
