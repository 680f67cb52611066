"""The decoding systems, by name."""

from __future__ import annotations

from ...graphs.errors import DllmEdgeError
from .base import System
from .fast_dllm import DUAL, PREFIX
from .sparse_dllm import SPARSE
from .vanilla import VANILLA

SYSTEMS: dict[str, System] = {system.name: system for system in (VANILLA, PREFIX, DUAL, SPARSE)}


def find_system(name: str) -> System:
    """The system of that name; an unknown one is an error that lists the known."""
    if name not in SYSTEMS:
        raise DllmEdgeError(f"unknown system '{name}': choose one of {', '.join(SYSTEMS)}")
    return SYSTEMS[name]
