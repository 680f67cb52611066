from __future__ import annotations

from dllm_edge.scripts.cli.engine_build.announcement import duration


def test_durations() -> None:
    assert duration(12.4) == "12 s"
    assert duration(600) == "10 minutes"
