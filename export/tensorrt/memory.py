"""Whether a build fits in this machine's memory, by the figures of `dllm-edge plan`."""

from __future__ import annotations

from pathlib import Path

from ...graphs.errors import DllmEdgeError
from ...graphs.weight_formats import weight_bytes
from ...runtime.bundle.bundle import Bundle
from ..plan.estimate import build_bytes

MEMINFO = Path("/proc/meminfo")
KIB = 1024


def estimated_memory(bundle: Bundle) -> int:
    """Bytes at the peak of building the bundle's engine: a rough guess."""
    manifest = bundle.manifest
    return build_bytes(weight_bytes(manifest.config, manifest.stored, manifest.weights), manifest.weights.linear)


def free_memory(meminfo: Path = MEMINFO) -> int | None:
    """Bytes of memory and swap that processes may still fill; None where the system does not tell."""
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return sum(int(fields[name].split()[0]) * KIB for name in ("MemAvailable", "SwapFree"))
    except (OSError, ValueError, KeyError, IndexError):
        return None


def check_memory(bundle: Bundle, meminfo: Path = MEMINFO) -> None:
    """Raise `DllmEdgeError` where the estimate is more than there is: the kernel kills a process without a word."""
    needed, free = estimated_memory(bundle), free_memory(meminfo)
    if free is None or needed <= free:
        return
    smaller = "" if bundle.manifest.weights.linear.name == "int4" else "export with --weights int4, "
    raise DllmEdgeError(
        f"{bundle.path}: a build takes about {needed / 1e9:.1f} GB of memory, this machine has {free / 1e9:.1f} GB free with "
        f"its swap: close other programs, add swap, {smaller}or build all the same with --ignore-memory"
    )
