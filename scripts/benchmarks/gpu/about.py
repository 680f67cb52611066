"""What the GPU is, and its driver: what results are of."""

from __future__ import annotations

from typing import Any

from ....runtime.engines.device.cuda import CudaDevice
from ...cli.doctor.hardware import probe


def about_device() -> dict[str, Any]:
    """Return its name and its driver's version; `cuda_driver` is the newest CUDA that the driver takes, as 12060."""
    device = CudaDevice()
    return {
        "gpu": device.name,
        "compute_capability": device.compute_capability,
        "shares_memory": device.shares_memory,
        "driver": probe().driver,
        "cuda_driver": device.cuda.cudaDriverGetVersion()[1],
    }
