from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest

from dllm_edge.export.tensorrt.progress import Phases, monitored
from dllm_edge.runtime.engines.tensorrt.library import Library

MODULE: Any = SimpleNamespace(IProgressMonitor=type("IProgressMonitor", (), {}))
LIBRARY = Library("tensorrt", "10.3.0", MODULE)


def test_phases_are_steps_of_their_parents() -> None:
    reported: list[tuple[str, float]] = []
    phases = Phases(lambda name, share: reported.append((name, share)))
    phases.start("build", None, 2)
    phases.start("parse", "build", 2)
    phases.step("parse")
    phases.step("parse")
    phases.finish("parse")
    phases.step("build")
    phases.start("time", "build", 4)
    phases.step("time")
    phases.finish("time")
    phases.finish("build")
    shares = {0: 0.0, 1: 0.0, 2: 0.25, 3: 0.5, 4: 0.5, 5: 0.5, 6: 0.5, 7: 0.625, 8: 1.0, 9: 1.0}
    assert [share for _, share in reported] == [shares[index] for index in range(10)]
    assert [name for name, _ in reported][:3] == ["build", "parse", "parse"]


def test_a_bar_never_goes_back_and_never_beyond_its_end() -> None:
    reported: list[float] = []
    phases = Phases(lambda _, share: reported.append(share))
    phases.start("build", None, 1)
    for _ in range(3):
        phases.start("tactics", "build", 2)
        for _ in range(5):
            phases.step("tactics")
        phases.finish("tactics")
    phases.start("orphan", "unheard of", 0)
    phases.step("unheard of")
    phases.finish("unheard of")
    assert reported == sorted(reported)
    assert reported[-1] == 1.0


def test_an_interrupt_stops_the_build_at_its_next_step() -> None:
    config, answers = SimpleNamespace(progress_monitor=None), []
    before = signal.getsignal(signal.SIGINT)

    def build() -> None:
        with monitored(LIBRARY, config, lambda *_: None):
            monitor: Any = config.progress_monitor
            monitor.phase_start("build", None, 2)
            answers.append(monitor.step_complete("build", 0))
            os.kill(os.getpid(), signal.SIGINT)
            answers.append(monitor.step_complete("build", 1))
            monitor.phase_finish("build")

    with pytest.raises(KeyboardInterrupt):
        build()
    assert answers == [True, False]
    assert signal.getsignal(signal.SIGINT) is before
    assert config.progress_monitor is None
