"""A request under way: its coroutine, what it waits for, and its lanes of caches."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np

from ..arrays import FloatArray
from ..decoding.changes import Change
from ..decoding.step import MAIN, Answer, CacheOperation, Forward, Refresh, Reserve, Step
from ..decoding.trace import StepTrace
from ..engines.base import Lanes
from ..unmasking.unmasking import Unmasking
from .cache_pool import Lane
from .request import Finished, FinishReason, Request

ENDLESS_FACTOR, ENDLESS_MARGIN = 8, 64
"""A decode takes at most so many forwards for each mask and each step that it was given, and so many more: no system needs
as many, and one whose tokens return to the mask forever must end, too."""


@dataclass(eq=False)
class Sequence:
    """The state of a request that is decoded: `pending` is what its coroutine wants next (None: it has ended)."""

    request: Request
    lanes: dict[str, Lane] = field(default_factory=dict)
    """By model, its lane of a cache."""
    evicting: Lanes | None = None
    """The buffer that an evicting refresh has filled, until the operations that follow it are over."""
    saliency_queries: FloatArray | None = None
    """`[layers, Hkv, D]`: those of the last forward that averaged queries."""
    last: Step | Refresh | None = None
    """The forward that was answered last."""
    checked: tuple[Forward, Lane | None] | None = None
    """The last forward that was checked as a whole, and its lane."""
    error: Exception | None = None
    forwards: int = 0
    changes_reported: int = 0
    refresh_forwards: int = 0
    rows_sent: int = 0
    engine_seconds: float = 0.0
    waited: int = 0
    trace: list[StepTrace] = field(default_factory=list)

    def __post_init__(self) -> None:
        request = self.request
        self.started = time.perf_counter()
        random, tokens = np.random.default_rng(request.seed), request.tokens_of_guide
        self.unmasking = Unmasking(request.canvas, request.settings, random, request.trace, tokens)
        self.limit = _limit(request)
        self.changes_reported = len(request.canvas.changes)
        self.coroutine = request.system.decode(request.canvas, request.settings, self.unmasking)
        self.pending: Step | Refresh | CacheOperation | None = self._naming_current(next(self.coroutine, None))

    def answer(self, answer: Answer) -> None:
        """Send the coroutine what it waits for and take what it wants next."""
        try:
            self.pending = self._naming_current(self.coroutine.send(answer))
        except StopIteration:
            self.pending = None
        except Exception as error:
            self.fail(error)

    def _naming_current(self, pending: Step | Refresh | CacheOperation | None) -> Step | Refresh | CacheOperation | None:
        """Let a forward of the decoded model name what stands at the positions it predicts, where the rule looks at that."""
        if self.unmasking.rule.looks_at == "masked" or not isinstance(pending, Forward):
            return pending
        if pending.target_ids is not None or pending.model != MAIN:
            return pending
        return replace(pending, target_ids=self.request.canvas.tokens[pending.predicts][:, None])

    def fail(self, error: Exception) -> None:
        """Let nothing more be run for it: it ends with this error."""
        self.pending, self.error = None, error

    def take_changes(self) -> list[Change]:
        """Return what changed on its canvas since it was last asked."""
        changes = self.request.canvas.changes[self.changes_reported :]
        self.changes_reported += len(changes)
        return changes

    @property
    def step(self) -> Step | None:
        """The step that it waits for, if that is what it wants and there is more to be run for it."""
        return self.pending if isinstance(self.pending, Step) and not self.over else None

    @property
    def refresh(self) -> Refresh | None:
        """The refresh that it waits for, if that is what it wants and there is more to be run for it."""
        return self.pending if isinstance(self.pending, Refresh) and not self.over else None

    @property
    def operation(self) -> CacheOperation | None:
        """The cache operation that it waits for, if that is what it wants."""
        return self.pending if isinstance(self.pending, CacheOperation) else None

    def reserved(self, model: str, bound: bool | None = None) -> int:
        """Return the slots that it is about to reserve for a model, in a cache that is `bound` (None: or not); 0: none."""
        asked = self.pending
        if not isinstance(asked, Reserve) or asked.model != model or bound not in (None, asked.bound):
            return 0
        return asked.slots

    @property
    def over(self) -> bool:
        """Whether nothing more is to be run for it."""
        return self.pending is None or self.request.cancelled or self.forwards >= self.limit

    @property
    def reason(self) -> FinishReason:
        """Why it is over."""
        if self.error is not None:
            return "failed"
        if self.pending is not None:
            return "cancelled" if self.request.cancelled else "step_limit"
        return "stop" if self.request.canvas.end_of_text is not None else "complete"

    def finish(self) -> Finished:
        """End it, and return the event that says so."""
        self.close()
        return Finished(
            self.request,
            self.reason,
            self.forwards,
            self.refresh_forwards,
            self.rows_sent,
            time.perf_counter() - self.started,
            self.engine_seconds,
            self.trace,
            self.error,
        )

    def close(self) -> None:
        """Close the coroutine; an error of its own cleaning up is the sequence's."""
        try:
            self.coroutine.close()
        except Exception as error:
            self.fail(self.error or error)


def _limit(request: Request) -> int:
    settings, masks = request.settings, int(request.canvas.generated_positions.sum())
    return int(settings.max_steps) or ENDLESS_FACTOR * (masks + int(settings.steps)) + ENDLESS_MARGIN
