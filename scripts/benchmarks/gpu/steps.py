"""Time of a block step on an engine, with CUDA graphs and without."""

from __future__ import annotations

from statistics import median, quantiles
from typing import Any

import numpy as np

from ....graphs.contract import Profile
from ....runtime.engines.base import Lanes
from ....runtime.engines.device.engine import DeviceEngine
from .bandwidth import step_bytes
from .job import BLOCK
from .watch import Run, WatchedEngine

WARM_UP, ROUNDS = 10, 100


def block_profile(context: int) -> Profile:
    return Profile(1, BLOCK, context, BLOCK)


def time_steps(
    engine: DeviceEngine, contexts: tuple[int, ...], warm_up: int = WARM_UP, rounds: int = ROUNDS
) -> list[dict[str, Any]]:
    """Return a row a context of steps launched kernel by kernel and, where the engine records them, one of those replayed."""
    watched, choices = WatchedEngine(engine), (False, True) if engine.records else (False,)
    rows = []
    for context in contexts:
        profile = engine.profile(block_profile(context))
        fill(engine, profile)
        # A cache each, all held: whether a step is recorded is settled when a cache is first read.
        caches = [engine.allocate(profile.batch, profile.capacity, bound=False, read=True) for _ in choices]
        for recorded, cache in zip(choices, caches, strict=True):
            engine.records = recorded
            runs = _runs(watched, profile, Lanes(cache, 0, profile.batch), warm_up, rounds)
            row = {"context": context, "cuda_graph": engine.records, "bytes": _bytes(engine, profile)}
            rows.append(row | _summary(runs))
    return rows


def _runs(watched: WatchedEngine, profile: Profile, lanes: Lanes, warm_up: int, rounds: int) -> list[Run]:
    watched.runs.clear()
    for _ in range(warm_up + rounds):
        watched.run(profile, lanes)
    return watched.runs[warm_up:]


def fill(engine: DeviceEngine, profile: Profile) -> None:
    """Write the inputs of a canvas' last block: any tokens, everything visible."""
    inputs = engine.inputs(profile)
    inputs.input_ids[:] = np.random.default_rng(0).integers(0, 100, inputs.input_ids.shape)
    inputs.position_ids[:] = profile.capacity + np.arange(profile.queries)
    inputs.attention_mask[:] = True
    inputs.logit_rows[:] = np.arange(profile.rows)


def _summary(runs: list[Run]) -> dict[str, float]:
    seconds = [run.ended - run.began for run in runs]
    tenths = quantiles(seconds, n=10)
    return {
        "seconds": median(seconds),
        "seconds_low": tenths[0],
        "seconds_high": tenths[-1],
        "engine_host_seconds": median(run.busy for run in runs),
        "rounds": len(runs),
    }


def _bytes(engine: DeviceEngine, profile: Profile) -> int:
    return step_bytes(engine.config, engine.cache_dtype, profile)
