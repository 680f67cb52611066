"""Whether a build fits in this machine's memory, by the figures of `dllm-edge plan`."""

from __future__ import annotations

from pathlib import Path

from ...graphs.errors import DllmEdgeError
from ...graphs.weight_formats import weight_bytes
from ...runtime.bundle.bundle import Bundle
from ..plan.devices import GB
from ..plan.estimate import peak_build_bytes
from ..plan.this_machine import MEMINFO, read_meminfo


def estimated_build_bytes(bundle: Bundle) -> int:
    """Return the bytes of memory at the peak of building the bundle's engine: a rough guess."""
    manifest = bundle.manifest
    return peak_build_bytes(weight_bytes(manifest.config, manifest.stored, manifest.weights), manifest.weights.linear)


def free_memory_bytes(meminfo: Path = MEMINFO) -> int | None:
    """Return the bytes of memory and swap that processes may still fill; None where the system does not say."""
    fields, wanted = read_meminfo(meminfo), ("MemAvailable", "SwapFree")
    return sum(fields[name] for name in wanted) if fields and all(name in fields for name in wanted) else None


def check_memory(bundle: Bundle, meminfo: Path = MEMINFO) -> None:
    """Raise `DllmEdgeError` where the estimate is more than there is: the kernel kills a process without a word."""
    needed, free = estimated_build_bytes(bundle), free_memory_bytes(meminfo)
    if free is None or needed <= free:
        return
    smaller = "" if bundle.manifest.weights.linear.name == "int4" else "export with --weights int4, "
    raise DllmEdgeError(
        f"{bundle.path}: a build takes about {needed / GB:.1f} GB of memory, this machine has {free / GB:.1f} GB free with "
        f"its swap: close other programs, add swap, {smaller}or build all the same with --ignore-memory"
    )
