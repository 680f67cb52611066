from __future__ import annotations

import pytest

from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.scripts.benchmarks.gpu.host import block_pairs, host_time
from dllm_edge.scripts.benchmarks.gpu.watch import Run

from ....runtime.device_engines import on_host
from .slow_device import SlowDevice


def test_host_time_of_a_decode(tiny: Bundle) -> None:
    times = host_time(tiny, on_host(tiny, None, SlowDevice()), 160)
    # 128 tokens, one a step; the first step of each of four blocks is the refresh's own.
    assert times["block_steps"] == 128 - 4 - 4
    assert times["host_seconds"] == pytest.approx(times["scheduler_seconds"] + times["engine_host_seconds"], rel=0.5)
    assert times["engine_host_seconds"] <= times["step_seconds"] - 0.02
    assert times["context"] == 160


def test_block_steps_with_a_refresh_between_them_are_no_pair() -> None:
    block, refresh = Run(0, 1, 0, True), Run(0, 1, 0, False)
    assert len(block_pairs([block, block, refresh, block, block, block])) == 3
