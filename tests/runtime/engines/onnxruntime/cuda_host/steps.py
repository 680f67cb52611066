"""Block steps of an engine over stubs, and what they called."""

from __future__ import annotations

from collections.abc import Iterator

from dllm_edge.graphs.contract import Profile
from dllm_edge.runtime.engines.base import Lanes
from dllm_edge.runtime.engines.device.engine import DeviceEngine

from .stub_cuda import StubCuda

BLOCK = Profile(1, 8, 24, 8)
OTHER = Profile(2, 16, 40, 8)


def lanes(engine: DeviceEngine, profile: Profile) -> Lanes:
    """Return a new cache for the steps of a profile."""
    profile = engine.profile(profile)
    return Lanes(engine.allocate(profile.batch, profile.capacity, bound=False, read=True), 0, profile.batch)


def counted(cuda: StubCuda, engine: DeviceEngine, profile: Profile, cache: Lanes, steps: int) -> Iterator[dict[str, int]]:
    """Yield what each of some steps over one cache calls."""
    for _ in range(steps):
        cuda.counts()
        engine.run(engine.profile(profile), cache)
        yield cuda.counts()
