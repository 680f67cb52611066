"""A recording of a few copies, replayed: whether each replay does what was recorded, with the bytes that are there then."""

from __future__ import annotations

import time
from statistics import median

from ....graphs.errors import DllmEdgeError
from ....runtime.engines.device.base import Device, Launch, RecordingError
from .crossing import Crossing

NBYTES, REPLAYS = 64 << 10, 100


def time_recording(device: Device, nbytes: int = NBYTES, replays: int = REPLAYS) -> dict[str, float]:
    """Return the median seconds of replays and of launching the same one by one; each replay's bytes are checked."""
    crossing = Crossing.of(device, nbytes)
    try:
        replay = device.record(crossing.run)
    except RecordingError as reason:
        raise DllmEdgeError(f"copies could not be recorded as a CUDA graph ({reason}): send this line") from reason
    launched = [_seconds(crossing, crossing.run, seed) for seed in range(replays)]
    replayed = [_seconds(crossing, replay, seed) for seed in range(replays)]
    return {"replays": replays, "replay_seconds": median(replayed), "launched_seconds": median(launched)}


def _seconds(crossing: Crossing, launch: Launch, seed: int) -> float:
    crossing.fill(seed)
    crossing.target[:] = 0
    started = time.perf_counter()
    launch()
    crossing.device.synchronise()
    seconds = time.perf_counter() - started
    crossing.check(f"replay {seed} of recorded copies")
    return seconds
