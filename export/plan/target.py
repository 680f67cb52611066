"""Where a model is to run: the device, the engine, and how much of the memory is the model's to fill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ...graphs.dtypes import DType
from ...graphs.errors import DllmEdgeError
from .devices import GB, LARGEST_FIGURE, Device, Kind

Engine = Literal["tensorrt", "onnxruntime"]
Flavour = Literal["fused", "portable"]

HEADROOM = 0.9
"""The share of the free memory that a plan fills at most: estimates are off, and other programs come and go."""
# Assumptions, for `free -m` on the device to correct: an Ubuntu of JetPack without and with its desktop; a computer's;
# a card that draws a desktop.
RESERVE: dict[Kind, tuple[float, float]] = {
    "jetson": (0.9 * GB, 2.0 * GB),
    "host": (1.0 * GB, 2.0 * GB),
    "gpu": (0.0, 0.6 * GB),
}
# Of a process with a CUDA context and TensorRT's libraries (assumed), and of one with ONNX Runtime's CPU provider (measured:
# Python, numpy and ONNX Runtime 1.31 imported, 92 MB).
RUNTIME = {"cuda": 0.6 * GB, "cpu": 0.1 * GB}


@dataclass(frozen=True)
class Target:
    """`swap` are bytes of swap that a build may fill beside the memory."""

    device: Device
    engine: Engine
    flavour: Flavour
    desktop: bool = False
    swap: int = 0

    @property
    def cpu(self) -> bool:
        """ONNX Runtime means a card's CUDA provider, and the CPU of everything else."""
        return self.engine == "onnxruntime" and self.device.kind != "gpu"

    @property
    def jetpack_6(self) -> bool:
        """Whether engines may have to be TensorRT 10.3's: blocked int8 is newer than that."""
        return self.engine == "tensorrt" and self.flavour == "portable" and self.device.orin

    @property
    def shared(self) -> bool:
        """Whether host and device have the same memory, so that builds take from it."""
        return self.device.kind != "gpu"

    def compute(self, stored: DType) -> DType:
        """The CPU runs a bundle's float32 graphs."""
        return "float32" if self.cpu else stored

    def scores(self, compute: DType) -> int:
        """How many float32 arrays of attention's scores are in memory whole at a time.

        None in TensorRT's fused attention, which it does not have in float32; one in ONNX Runtime's; three in the portable
        flavour (masked, exponentials, quotient): as ONNX Runtime's CPU provider has them, TensorRT may have fewer.
        """
        if self.flavour == "portable":
            return 3
        return 1 if self.engine == "onnxruntime" or compute == "float32" else 0

    @property
    def reserve(self) -> int:
        """Bytes of the operating system."""
        return int(RESERVE[self.device.kind][self.desktop])

    @property
    def runtime(self) -> int:
        """Bytes of the process without weights, caches and values."""
        return int(RUNTIME["cpu" if self.cpu else "cuda"])

    @property
    def limit(self) -> int:
        """Bytes that a model may fill."""
        return int(HEADROOM * max(0, self.device.memory - self.reserve))


def target_of(device: Device, engine: str, flavour: str | None, desktop: bool, swap: float) -> Target:
    """`flavour` None: the portable one on an Orin, whose JetPack 6.2 takes no other, else the fused one. `swap` is in GB."""
    if not 0 <= swap < LARGEST_FIGURE:
        raise DllmEdgeError(f"--swap {swap:g}: must be at least 0 and below {LARGEST_FIGURE}, in GB (10^9 bytes)")
    for known in get_args(Engine):
        if engine == known:
            chosen = flavour or ("portable" if device.orin else "fused")
            for kind in get_args(Flavour):
                if chosen == kind:
                    return Target(device, known, kind, desktop, int(swap * GB))
            raise DllmEdgeError(f"unknown flavour {chosen!r}: choose one of {', '.join(get_args(Flavour))}")
    raise DllmEdgeError(f"unknown engine '{engine}': choose one of {', '.join(get_args(Engine))}")
