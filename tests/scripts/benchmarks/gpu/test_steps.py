"""What is measured on a GPU, measured on the device loop over host memory."""

from __future__ import annotations

import pytest

from dllm_edge.graphs.contract import Profile
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.profiles import Workload
from dllm_edge.scripts.benchmarks.gpu.bandwidth import step_bytes
from dllm_edge.scripts.benchmarks.gpu.steps import block_profile, time_steps

from ....runtime.device_engines import on_host
from ....runtime.host_device import HostDevice
from .slow_device import SlowDevice


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
