"""How many cores there are to compute on."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Return the cores that this process may use, or where the system does not tell, those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
