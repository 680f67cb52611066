"""Copies between host and device, and by runs within it: whether they are right, and how long they take."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from ....runtime.engines.device.base import Device
from .crossing import Crossing

# A step's inputs, about, and what shows the bandwidth.
SIZES, ROUNDS = (64 << 10, 64 << 20), 20


def time_copies(device: Device, sizes: tuple[int, ...] = SIZES, rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Return a row for each size of the median seconds of each copy, waited for; the bytes are checked."""
    rows = []
    for nbytes in sizes:
        crossing = Crossing.of(device, nbytes)
        crossing.fill(nbytes)
        crossing.run()
        device.synchronise()
        crossing.check(f"copies of {nbytes} bytes")
        parts = {"upload": crossing.upload, "within": crossing.copy, "download": crossing.download}
        seconds = {name: median(_seconds(device, part) for _ in range(rounds)) for name, part in parts.items()}
        rows.append({"bytes": nbytes, "seconds": seconds})
    return rows


def _seconds(device: Device, work: Any) -> float:
    started = time.perf_counter()
    work()
    device.synchronise()
    return time.perf_counter() - started
