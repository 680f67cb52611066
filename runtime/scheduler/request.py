"""A request, the events that it leads to, and its state while the driver works on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ...graphs.contract import Profile
from ..arrays import FloatArray
from ..decoding.canvas import Canvas, Commit
from ..decoding.settings import Settings
from ..decoding.step import Answer, CacheOperation, Step
from ..decoding.trace import StepTrace
from ..engines.base import Lanes
from ..systems.base import System
from ..unmasking.unmasker import Unmasker

FinishReason = Literal["complete", "stop", "cancelled", "step_limit"]


@dataclass(eq=False)
class Request:
    """One sequence to decode. `cancel()` ends it at the next tick, with what it has so far."""

    canvas: Canvas
    system: System
    settings: Settings
    seed: int = 0
    trace: bool = False
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass(frozen=True)
class Committed:
    """Tokens that one forward of a request committed."""

    request: Request
    forward: int
    commit: Commit


@dataclass(frozen=True)
class Finished:
    """A request's end. Seconds are those of the request, a batched step's shared evenly among its sequences."""

    request: Request
    reason: FinishReason
    forwards: int
    refresh_forwards: int
    seconds: float
    engine_seconds: float
    trace: list[StepTrace]


@dataclass(eq=False)
class Sequence:
    """A request under way: its coroutine, the step that it waits for, and its lane of a cache."""

    request: Request
    width: int
    lane: Lanes | None
    started: float
    forwards: int = 0
    refresh_forwards: int = 0
    engine_seconds: float = 0.0
    waited: int = 0
    staging: Lanes | None = None
    saliency_queries: FloatArray | None = None
    trace: list[StepTrace] = field(default_factory=list)

    def __post_init__(self) -> None:
        request = self.request
        unmasker = Unmasker(request.canvas, request.settings, np.random.default_rng(request.seed))
        self.coroutine = request.system.decode(request.canvas, request.settings, unmasker)
        self.pending: Step | CacheOperation | None = next(self.coroutine, None)
        assert not isinstance(self.pending, CacheOperation), "a system begins with a step"

    def answer(self, answer: Answer) -> None:
        """Send the coroutine what it waits for and take what it wants next (None: it has ended)."""
        try:
            self.pending = self.coroutine.send(answer)
        except StopIteration:
            self.pending = None

    def profile(self) -> Profile:
        """The sizes of the pending step; whole canvases are padded to the longest of their kind, so that they can batch."""
        step = self.pending
        assert isinstance(step, Step)
        queries = self.width if step.kind != "block" else step.input_ids.size
        capacity = self.lane.cache.capacity if self.lane and step.visible is not None else 0
        targets = 1 if step.target_ids is None else step.target_ids.shape[1]
        return Profile(1, queries, capacity, step.logit_rows.size, targets)

    @property
    def over(self) -> bool:
        """Whether nothing more is to be run for it."""
        limit = self.request.settings.max_steps
        return self.pending is None or self.request.cancelled or bool(limit and self.forwards >= limit)

    @property
    def reason(self) -> FinishReason:
        """Why it is over."""
        if self.pending is not None:
            return "cancelled" if self.request.cancelled else "step_limit"
        return "stop" if self.request.canvas.end_of_text is not None else "complete"
