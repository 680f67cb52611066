"""What the host does for a block step: the scheduler, the decoding system and the engine's Python, without waiting for the GPU.

Of two block steps in a row, it is the time from the first's end to the second's beginning (unmasking, events, filling the
inputs), and of the second that part which is not spent waiting for the stream (launching it).
"""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

from ....runtime.bundle.bundle import Bundle
from ....runtime.engines.device.engine import DeviceEngine
from ....runtime.generate import Model
from .job import BLOCK
from .watch import Run, WatchedEngine

SYSTEM, GEN_LENGTH = "fast-dllm-dual", 128
SETTINGS: dict[str, Any] = {"unmask": "quota", "gen_length": GEN_LENGTH, "block_length": BLOCK, "early_stop": False}


def host_time(bundle: Bundle, engine: DeviceEngine, context: int) -> dict[str, float]:
    """Decode twice, one token a step, and return the second time's medians in seconds."""
    watched = WatchedEngine(engine)
    model = Model(bundle, watched.as_engine())
    prompt = np.random.default_rng(0).integers(0, 100, context - GEN_LENGTH).tolist()
    for _ in range(2):
        watched.runs.clear()
        model.generate(prompt, system=SYSTEM, **SETTINGS)
    pairs = block_pairs(watched.runs)
    return {
        "host_seconds": median(two.began - one.ended + two.busy for one, two in pairs),
        "scheduler_seconds": median(two.began - one.ended for one, two in pairs),
        "engine_host_seconds": median(two.busy for _, two in pairs),
        "step_seconds": median(two.ended - two.began for _, two in pairs),
        "block_steps": len(pairs),
        "context": context,
    }


def block_pairs(runs: list[Run]) -> list[tuple[Run, Run]]:
    """Return neighbours that are both block steps: no refresh lies between them."""
    return [(one, two) for one, two in pairwise(runs) if one.block and two.block]
