"""How far a build is: TensorRT's phases as one share that is done, and a build that stops when it is interrupted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ...runtime.engines.tensorrt.library import Library

Progress = Callable[[str, str, float], None]
"""Called with the graph, the phase that it is in, and the share of the graph's build that is done."""
PhaseProgress = Callable[[str, float], None]
"""The same for one graph: called with the phase and the share."""


def ignore_progress(_graph: str, _phase: str, _share: float) -> None:
    """Do nothing: a `Progress` for builds that nobody watches."""


@dataclass
class Phase:
    """One phase of a build; `begins` and `ends` are shares of the whole, `done` how many of its steps are."""

    name: str
    begins: float
    ends: float
    steps: int
    done: int = 0

    @property
    def share(self) -> float:
        """The share of the whole that is done with this phase's steps."""
        return self.begins + (self.ends - self.begins) * min(self.done / max(self.steps, 1), 1.0)


class Phases:
    """The phases that are open, each a step of its parent; several threads may report theirs."""

    def __init__(self, progress: PhaseProgress) -> None:
        self._progress = progress
        self._open: dict[str, Phase] = {}
        self._lock = threading.Lock()
        self._furthest = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """Open a phase of so many steps, which is the next step of `parent`."""
        with self._lock:
            above = self._open.get(parent or "")
            begins = above.share if above else 0.0
            ends = begins + (above.ends - above.begins) / max(above.steps, 1) if above else 1.0
            self._open[name] = Phase(name, begins, min(ends, 1.0), steps)
            self._report(name, begins)

    def step(self, name: str) -> None:
        """Count one step of a phase."""
        with self._lock:
            if phase := self._open.get(name):
                phase.done += 1
                self._report(name, phase.share)

    def finish(self, name: str) -> None:
        """Close a phase."""
        with self._lock:
            if phase := self._open.pop(name, None):
                self._report(name, phase.ends)

    def _report(self, name: str, share: float) -> None:
        # Phases of several kernels overlap: a bar never goes back.
        self._furthest = max(self._furthest, share)
        self._progress(name, self._furthest)


@contextmanager
def monitored(library: Library, config: Any, progress: PhaseProgress) -> Iterator[None]:
    """Report the phases of a build with `config`. An interrupt ends the build at its next step, and is raised then."""
    interrupted = threading.Event()
    monitor = _monitor(library, Phases(progress), interrupted)
    config.progress_monitor = monitor
    with _interrupts(interrupted):
        yield
    config.progress_monitor = None
    if interrupted.is_set():
        raise KeyboardInterrupt


def _monitor(library: Library, phases: Phases, interrupted: threading.Event) -> Any:
    """Return TensorRT's view of `phases`, which ends a build once `interrupted` is set."""

    class Monitor(library.module.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            library.module.IProgressMonitor.__init__(self)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            phases.start(name, parent, steps)

        def step_complete(self, name: str, step: int) -> bool:
            phases.step(name)
            return not interrupted.is_set()

        def phase_finish(self, name: str) -> None:
            phases.finish(name)

    return Monitor()


@contextmanager
def _interrupts(interrupted: threading.Event) -> Iterator[None]:
    """Note SIGINT instead of raising it: an exception cannot pass through the compiler's own code."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
