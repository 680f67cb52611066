"""Where a model is to run: the device, the engine, and how much of the memory is the model's to fill."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from ...graphs.dtypes import DType
from ...graphs.errors import DllmEdgeError, unknown
from ...graphs.weight_formats import WeightFormats
from ...runtime.engines.support import Use, rows_of, version_of
from ...runtime.engines.support_table import EngineRow
from .devices import CPU, GB, GB_IN_BYTES, Device, DeviceKind, check_figure

Engine = Literal["tensorrt", "onnxruntime"]
Flavour = Literal["fused", "portable"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
FLAVOURS: tuple[Flavour, ...] = get_args(Flavour)
Choice = TypeVar("Choice", bound=str)

HEADROOM = 0.9
"""The share of the free memory that a plan fills at most: estimates are off, and other programs come and go."""
# Assumptions, for `free -m` on the device to correct: an Ubuntu of JetPack without and with its desktop; a computer's;
# a card that draws a desktop.
RESERVE: dict[DeviceKind, tuple[float, float]] = {
    "jetson": (0.9 * GB, 2.0 * GB),
    "host": (1.0 * GB, 2.0 * GB),
    "gpu": (0.0, 0.6 * GB),
}
# Of a process with a CUDA context and TensorRT's libraries (assumed), and of one with ONNX Runtime's CPU provider (measured:
# Python, numpy and ONNX Runtime 1.31 imported, 92 MB).
RUNTIME = {"cuda": 0.6 * GB, "cpu": 0.1 * GB}


@dataclass(frozen=True)
class Target:
    """`desktop` says whether the device draws one; `swap_bytes` are what a build may fill beside the memory."""

    device: Device
    engine: Engine
    flavour: Flavour
    desktop: bool = False
    swap_bytes: int = 0

    @property
    def cpu(self) -> bool:
        """Whether a CPU computes: ONNX Runtime means a card's CUDA provider, and the CPU of everything else."""
        return self.engine == "onnxruntime" and self.device.kind != "gpu"

    @property
    def row(self) -> EngineRow:
        """Of the table of engines: TensorRT's oldest for an Orin's portable flavour, for JetPack 6.2; else the newest."""
        name = "tensorrt" if self.engine == "tensorrt" else f"onnxruntime-{self._processor if self.cpu else 'cuda'}"
        oldest = self.engine == "tensorrt" and self.flavour == "portable" and self.device.orin
        return rows_of(name)[-1 if oldest else 0]

    @property
    def _processor(self) -> str:
        """What kind the CPU is; of a computer that figures alone describe, the more common."""
        arm = platform.machine() == "aarch64" if self.device.name == CPU else self.device.kind == "jetson"
        return "aarch64" if arm else "x86_64"

    def use(self, stored_dtype: DType, formats: WeightFormats) -> Use:
        """Return what running weights of this dtype and these formats asks of the engine."""
        capability = None if self.cpu or not self.device.compute_capability else version_of(self.device.compute_capability)
        compute_dtype = self.compute_dtype(stored_dtype)
        return Use(self.row.engine, self.row.first, capability, self.flavour, compute_dtype, formats)

    def takes(self, format_name: str) -> bool:
        """Return whether linear weights and LM heads may be stored so, in groups of some size."""
        return any(known.level != "refused" for (name, _), known in self.row.integers.items() if name == format_name)

    @property
    def shares_memory(self) -> bool:
        """Whether host and device have the same memory, so that builds take from it."""
        return self.device.kind != "gpu"

    def compute_dtype(self, stored_dtype: DType) -> DType:
        """Return what graphs compute in: the CPU runs a bundle's float32 graphs."""
        return "float32" if self.cpu else stored_dtype

    def score_arrays(self, compute_dtype: DType) -> int:
        """Return how many float32 arrays of attention's scores are in memory whole at a time.

        None in TensorRT's fused attention, which it does not have in float32; one in ONNX Runtime's; three in the portable
        flavour (masked, exponentials, quotient): as ONNX Runtime's CPU provider has them, TensorRT may have fewer.
        """
        if self.flavour == "portable":
            return 3
        return 1 if self.engine == "onnxruntime" or compute_dtype == "float32" else 0

    @property
    def reserved_bytes(self) -> int:
        """Bytes of the operating system."""
        return int(RESERVE[self.device.kind][self.desktop])

    @property
    def runtime_bytes(self) -> int:
        """Bytes of the process without weights, caches and values."""
        return int(RUNTIME["cpu" if self.cpu else "cuda"])

    @property
    def limit_bytes(self) -> int:
        """Bytes that a model may fill."""
        return int(HEADROOM * max(0, self.device.memory - self.reserved_bytes))

    @property
    def build_limit_bytes(self) -> int | None:
        """Bytes that a build may fill, with swap; None where it takes those of a host that is not known."""
        return self.limit_bytes + self.swap_bytes if self.shares_memory else None


def target_of(
    device: Device, *, engine: str | None = None, flavour: str | None = None, desktop: bool = False, swap_gb: float = 0
) -> Target:
    """Return the target that these options mean; raises `DllmEdgeError` for what is unknown or out of range.

    `engine` None: ONNX Runtime on this machine's CPU, else TensorRT. `flavour` None: the portable one on an Orin, whose
    JetPack 6.2 takes no other, else the fused one.
    """
    if device.name == CPU and engine not in (None, "onnxruntime"):
        raise DllmEdgeError(f"--device {CPU} runs onnxruntime and no {engine}: use --engine onnxruntime")
    engine = engine or ("onnxruntime" if device.name == CPU else "tensorrt")
    check_figure("--swap", swap_gb, GB_IN_BYTES, zero=True)
    return Target(
        device,
        _one_of(ENGINES, engine, "engine"),
        _one_of(FLAVOURS, flavour or ("portable" if device.orin else "fused"), "flavour"),
        desktop,
        int(swap_gb * GB),
    )


def _one_of(choices: tuple[Choice, ...], word: str, name: str) -> Choice:
    """Return the choice that `word` is; raises `DllmEdgeError` that lists them where it is none."""
    for choice in choices:
        if word == choice:
            return choice
    raise unknown(name, word, choices)
