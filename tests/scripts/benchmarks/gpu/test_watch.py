from __future__ import annotations

from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.scripts.benchmarks.gpu.watch import Run, WatchedDevice, WatchedEngine

from ....runtime.device_engines import on_host
from .slow_device import SlowDevice


def test_waiting_is_not_the_hosts_work() -> None:
    device = WatchedDevice(SlowDevice())
    device.synchronise()
    assert device.waited >= 0.02
    assert device.name == "host memory"
    assert Run(1.0, 4.0, 2.5, True).busy == 0.5


def test_the_engine_is_still_one(tiny: Bundle) -> None:
    engine = on_host(tiny, None)
    watched = WatchedEngine(engine)
    assert watched.as_engine().config is tiny.config
    assert engine.device is watched.device
