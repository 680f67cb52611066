"""The computer that a plan is made on, as a device: its memory as the kernel has it, its bandwidth as a copy shows it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...graphs.errors import DllmEdgeError
from ...runtime.engines.cores import usable_cores
from .devices import CPU, Device

MEMINFO = Path("/proc/meminfo")
KIB = 1024
COPIED_BYTES, ROUNDS = 128_000_000, 5
NOTE = (
    f"memory is that of {MEMINFO}; bandwidth was measured a moment ago: {COPIED_BYTES // 1_000_000} MB copied on all cores, "
    f"the best of {ROUNDS} times, read and written counted"
)


def this_machine(meminfo: Path = MEMINFO, *, measure: bool = True) -> Device:
    """Return this computer as the device `cpu`; without `measure` its bandwidth is None. Takes some tenths of a second.

    Raises `DllmEdgeError` where the system does not say how much memory there is.
    """
    fields = read_meminfo(meminfo)
    if fields is None or "MemTotal" not in fields:
        raise DllmEdgeError(
            f"{meminfo}: does not say how much memory there is: give --memory and --engine onnxruntime instead of --device"
        )
    return Device(CPU, "host", fields["MemTotal"], copied_bytes_per_second() if measure else None, note=NOTE if measure else "")


def read_meminfo(meminfo: Path = MEMINFO) -> dict[str, int] | None:
    """Return the bytes of each field, by its name; None where the system does not say."""
    try:
        fields = (line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
        return {name: int(text.split()[0]) * KIB for name, text in fields}
    except (OSError, ValueError, IndexError):
        return None


def copied_bytes_per_second() -> float:
    """Return what copies by all cores together reach, read and written bytes counted."""
    cores = usable_cores()
    source = np.ones(COPIED_BYTES, dtype=np.uint8)
    target = np.empty_like(source)
    parts = list(zip(np.array_split(target, cores), np.array_split(source, cores), strict=True))
    with ThreadPoolExecutor(cores) as pool:
        return 2 * COPIED_BYTES / min(_copy_seconds(pool, parts) for _ in range(ROUNDS))


def _copy_seconds(pool: ThreadPoolExecutor, parts: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> float:
    started = time.perf_counter()
    for copied in [pool.submit(np.copyto, target, source) for target, source in parts]:
        copied.result()
    return time.perf_counter() - started
