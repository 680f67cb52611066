"""What is measured on a GPU, measured on the device loop over host memory."""

from __future__ import annotations

import time

import pytest

from dllm_edge.graphs.contract import Profile
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.profiles import Workload
from dllm_edge.scripts.benchmarks.gpu.bandwidth import step_bytes
from dllm_edge.scripts.benchmarks.gpu.host import block_pairs, host_time
from dllm_edge.scripts.benchmarks.gpu.steps import block_profile, time_steps
from dllm_edge.scripts.benchmarks.gpu.watch import Run, WatchedDevice, WatchedEngine

from ....runtime.device_engines import on_host
from ....runtime.host_device import HostDevice


class SlowDevice(HostDevice):
    """One whose work takes 20 ms."""

    def synchronise(self) -> None:
        super().synchronise()
        time.sleep(0.02)


def test_waiting_is_not_the_hosts_work() -> None:
    device = WatchedDevice(SlowDevice())
    device.synchronise()
    assert device.waited >= 0.02
    assert device.name == "host memory"
    assert Run(1.0, 4.0, 2.5, True).busy == 0.5


def test_steps_with_and_without_cuda_graphs(tiny: Bundle) -> None:
    device = HostDevice()
    engine = on_host(tiny, Workload((block_profile(64), block_profile(96))), device)
    rows = time_steps(engine, (64, 96), warm_up=2, rounds=12)
    assert [(row["context"], row["cuda_graph"]) for row in rows] == [(64, False), (64, True), (96, False), (96, True)]
    assert all(0 < row["seconds_low"] <= row["seconds"] <= row["seconds_high"] for row in rows)
    assert all(0 < row["engine_host_seconds"] <= row["seconds"] and row["rounds"] == 12 for row in rows)
    assert rows[0]["bytes"] == step_bytes(tiny.config, "float32", Profile(1, 32, 64, 32))
    # The first step over a cache is launched, and recorded for those that follow.
    assert (device.recorded, device.replayed) == (2, 2 * 13)


def test_a_device_that_cannot_record_says_so(tiny: Bundle) -> None:
    engine = on_host(tiny, None, HostDevice(records=False))
    with pytest.warns(UserWarning, match="could not be recorded"):
        rows = time_steps(engine, (64,), warm_up=1, rounds=10)
    assert [row["cuda_graph"] for row in rows] == [False, False]


def test_an_engine_that_records_nothing_has_one_row_a_context(tiny: Bundle) -> None:
    engine = on_host(tiny, None)
    engine.records = False
    assert [row["cuda_graph"] for row in time_steps(engine, (64, 96), warm_up=1, rounds=10)] == [False, False]


def test_a_steps_time_holds_its_wait_and_its_host_time_does_not(tiny: Bundle) -> None:
    (row, _) = time_steps(on_host(tiny, None, SlowDevice()), (64,), warm_up=1, rounds=10)
    assert row["seconds"] >= 0.02
    assert row["engine_host_seconds"] <= row["seconds"] - 0.02


def test_host_time_of_a_decode(tiny: Bundle) -> None:
    found = host_time(tiny, on_host(tiny, None, SlowDevice()), 160)
    # 128 tokens, one a step; the first step of each of four blocks is the refresh's own.
    assert found["block_steps"] == 128 - 4 - 4
    assert found["host_seconds"] == pytest.approx(found["driver_seconds"] + found["engine_host_seconds"], rel=0.5)
    assert found["engine_host_seconds"] <= found["step_seconds"] - 0.02
    assert found["context"] == 160


def test_block_steps_with_a_refresh_between_them_are_no_pair() -> None:
    block, refresh = Run(0, 1, 0, True), Run(0, 1, 0, False)
    assert len(block_pairs([block, block, refresh, block, block, block])) == 3


def test_the_engine_is_still_one(tiny: Bundle) -> None:
    engine = on_host(tiny, None)
    watched = WatchedEngine(engine)
    assert watched.as_engine().config is tiny.config
    assert engine.device is watched.device
