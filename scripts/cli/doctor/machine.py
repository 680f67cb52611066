"""The machine that this runs on, in a few numbers."""

from __future__ import annotations

import os
import platform

from ....runtime.engines.cores import usable_cores


def machine() -> dict[str, str | int]:
    """Return the system, the kind of CPU, the cores that this process may use and the memory in bytes."""
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cores": usable_cores(),
        "memory_bytes": pages * page,
    }
