"""What rendering one prompt may take; known to both processes."""

from __future__ import annotations

from dataclasses import dataclass

# What the process exits with where its memory is used up: what is left of it then is not to be trusted.
OUT_OF_MEMORY = 3


@dataclass(frozen=True)
class Limits:
    """Seconds and bytes of the process that renders.

    Templates of released models take milliseconds and a few MiB. `cpu_seconds` and `memory_bytes` (of address space, Python's
    own included) are enough for the longest prompts on a slow machine; `wall_seconds` also count the start of the process
    from a slow disk, and other processes.
    """

    cpu_seconds: int = 2
    wall_seconds: float = 30.0
    memory_bytes: int = 512 << 20
