"""An engine that computes nothing, so that what a block step costs is the host's alone; and what the host copies in it."""

from __future__ import annotations

import time
from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np

from ...graphs.config import ModelConfig
from ...graphs.contract import Profile
from ...runtime.engines.base import Lanes, StepInputs, StepOutputs
from ...runtime.engines.host import HostCaches

CANDIDATES = 32
Buffers = TypeVar("Buffers", StepInputs, StepOutputs)


class IdleEngine(HostCaches):
    """Answers every step with the same random candidates, and notes what lay between two block steps, in seconds.

    With `rewrite`, every step gets buffers that seem to be new, so that all of its inputs are written again.
    """

    name = "none"

    def __init__(self, config: ModelConfig, rewrite: bool = False) -> None:
        super().__init__(config, "float32", CANDIDATES)
        self.rewrite = rewrite
        self.gaps: list[float] = []
        self._ended: float | None = None
        self._answered: set[Profile] = set()

    def inputs(self, profile: Profile) -> StepInputs:
        buffers = super().inputs(profile)
        return replace(buffers) if self.rewrite else buffers

    def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
        began = time.perf_counter()
        outputs = self._answer(profile)
        block = cache is not None and bind is None
        if block and self._ended is not None:
            self.gaps.append(began - self._ended)
        self._ended = time.perf_counter() if block else None
        return outputs

    def _answer(self, profile: Profile) -> StepOutputs:
        outputs = self.workspace(profile).outputs
        if profile not in self._answered:
            self._answered.add(profile)
            generator = np.random.default_rng(0)
            tokens = [token for token in range(self.config.vocab_size) if token != self.config.mask_token_id]
            outputs.topk_ids[:] = generator.choice(tokens, outputs.topk_ids.shape)
            outputs.topk_log_probs[:] = -np.sort(-generator.standard_normal(outputs.topk_log_probs.shape)) - 3.0
        return outputs


class Copies:
    """How many arrays were copied, and their bytes."""

    def __init__(self) -> None:
        self.count = self.nbytes = 0

    def add(self, nbytes: int) -> None:
        """Count one copy."""
        self.count += 1
        self.nbytes += nbytes


class CountedArray(np.ndarray[Any, Any]):
    """An array that counts what is written into it and into its views, and what is copied out of them."""

    copies: Copies | None = None

    def __array_finalize__(self, source: Any) -> None:
        self.copies = getattr(source, "copies", None)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        if self.copies is not None:
            self.copies.add(self[key].nbytes)

    def copy(self, order: Any = "C") -> Any:
        """Return a plain copy."""
        if self.copies is not None:
            self.copies.add(self.nbytes)
        return np.array(self, order=order)


class CountingEngine(IdleEngine):
    """Notes by block step the arrays that the host wrote to inputs and copied from outputs: `written`, `copied`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.written: list[Copies] = []
        self.copied: list[Copies] = []
        self._wrapped: dict[tuple[int, str], Any] = {}

    def inputs(self, profile: Profile) -> StepInputs:
        return self._counted(super().inputs(profile), self._begin(self.written))

    def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
        outputs = super().run(profile, cache, bind, keep_rows)
        copies = self._begin(self.copied)
        if cache is None or bind is not None:
            self.written.pop()
            self.copied.pop()
        return self._counted(outputs, copies)

    @staticmethod
    def _begin(log: list[Copies]) -> Copies:
        log.append(Copies())
        return log[-1]

    def _counted(self, buffers: Buffers, copies: Copies) -> Buffers:
        """Return the very same counting buffers for the same ones, as an engine does; their copies go to `copies` now."""
        key = (id(buffers), type(buffers).__name__)
        if key not in self._wrapped:
            arrays = {part.name: getattr(buffers, part.name).view(CountedArray) for part in fields(buffers)}
            self._wrapped[key] = replace(buffers, **arrays)
        wrapped: Buffers = self._wrapped[key]
        for part in fields(buffers):
            getattr(wrapped, part.name).copies = copies
        return wrapped
