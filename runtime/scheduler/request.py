"""A request, and the events that it leads to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...graphs.schema import true_or_false, whole_number
from ..decoding.canvas import Canvas
from ..decoding.changes import Change
from ..decoding.settings import Settings
from ..decoding.token_map import TokenMap
from ..decoding.trace import StepTrace
from ..systems.base import System

FinishReason = Literal["complete", "stop", "cancelled", "step_limit", "failed"]


@dataclass(eq=False)
class Request:
    """One sequence to decode. `cancel()` ends it at the scheduler's next step, with what it has so far.

    Raises `DllmEdgeError` for a seed that is no whole number from 0, and for a `trace` that is neither true nor false.
    """

    canvas: Canvas
    system: System
    settings: Settings
    seed: int = 0
    trace: bool = False
    cancelled: bool = False
    tokens_of_guide: TokenMap | None = None
    """What the guide has for the model's tokens, where there is one."""

    def __post_init__(self) -> None:
        self.seed = whole_number(self.seed, "seed")
        true_or_false(self.trace, "trace")

    def cancel(self) -> None:
        self.cancelled = True


@dataclass(frozen=True)
class Changed:
    """What one forward of a request did to its canvas: tokens committed, put back to the mask, edited, or cut off.

    What was done before the first forward comes with the first.
    """

    request: Request
    forward: int
    change: Change


@dataclass(frozen=True)
class Finished:
    """A request's end. Seconds are those of the request, a batched forward's shared evenly among its sequences.

    `rows_sent` are the rows of all its forwards, without padding. `error` is what it failed with, where that is why it ended.
    """

    request: Request
    reason: FinishReason
    forwards: int
    refresh_forwards: int
    rows_sent: int
    seconds: float
    engine_seconds: float
    trace: list[StepTrace]
    error: Exception | None = None


SchedulerEvent = Changed | Finished
