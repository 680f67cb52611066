"""Small workloads, and what builds of them leave in a bundle."""

from __future__ import annotations

import os

from dllm_edge.graphs.contract import Profile
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.profiles import Workload

SMALL = Workload((Profile(1, 4, 8, 4),))
OTHER = Workload((Profile(1, 4, 8, 4), Profile(1, 8, 1, 4)), (8,), ((8, 4),))


def entries(bundle: Bundle) -> list[str]:
    """Return the names of everything beside the engines."""
    return sorted(os.listdir(bundle.path / "engines"))
