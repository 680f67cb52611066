"""Seeing where a step's time goes: how long the host waited for the device, and when each step began and ended."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, cast

from ....graphs.contract import Profile
from ....runtime.engines.base import Engine, Lanes, StepOutputs
from ....runtime.engines.device.base import Device
from ....runtime.engines.device.engine import DeviceEngine


class WatchedDevice:
    """A device that adds up the seconds in which its caller waited for it."""

    def __init__(self, device: Device) -> None:
        self.device, self.waited = device, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.device, name)

    def synchronise(self) -> None:
        started = time.perf_counter()
        self.device.synchronise()
        self.waited += time.perf_counter() - started


@dataclass(frozen=True)
class Run:
    """One step: when it began and ended, and how long of that the host waited (seconds); `block`: it read a cache only."""

    began: float
    ended: float
    waited: float
    block: bool

    @property
    def busy(self) -> float:
        """Seconds of the host's own work."""
        return self.ended - self.began - self.waited


class WatchedEngine:
    """An engine that notes its steps. Its device is replaced by one that is watched."""

    def __init__(self, engine: DeviceEngine) -> None:
        self.engine, self.device, self.runs = engine, WatchedDevice(engine.device), list[Run]()
        engine.device = cast("Device", self.device)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def as_engine(self) -> Engine:
        return cast("Engine", self)

    def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
        before, began = self.device.waited, time.perf_counter()
        outputs = self.engine.run(profile, cache, bind, keep_rows)
        ended = time.perf_counter()
        self.runs.append(Run(began, ended, self.device.waited - before, cache is not None and bind is None))
        return outputs
