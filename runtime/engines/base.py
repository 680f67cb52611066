"""What the driver asks of an engine: steps of the contract's graph, caches, and the four operations that touch them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...graphs.config import ModelConfig
from ...graphs.contract import Profile

Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class StepInputs:
    """Host buffers that an engine owns and the driver fills in place; shapes as in `graphs.contract`."""

    input_ids: Int64
    position_ids: Int64
    attention_mask: Bool
    logit_rows: Int64
    target_ids: Int64
    saliency_weights: Float32


@dataclass(frozen=True)
class StepOutputs:
    """Host buffers that an engine owns; valid until its next step of the same profile."""

    topk_ids: Int64
    topk_logits: Float32
    logsumexp: Float32
    entropy: Float32
    target_logits: Float32
    saliency_queries: Float32


class Cache(Protocol):
    """Keys and values of `batch` lanes of `capacity` slots, `[batch, Hkv, capacity, D]` a layer, in the engine's memory."""

    @property
    def batch(self) -> int: ...

    @property
    def capacity(self) -> int: ...

    @property
    def nbytes(self) -> int: ...


@dataclass(frozen=True)
class Lanes:
    """`count` neighbouring lanes of a cache, from `first`: a contiguous part of each layer's tensors."""

    cache: Cache
    first: int
    count: int


class Engine(Protocol):
    """Runs the step graph of one bundle."""

    @property
    def name(self) -> str: ...

    @property
    def config(self) -> ModelConfig: ...

    def profile(self, wanted: Profile) -> Profile:
        """The sizes that will be run for those wanted: the same, or the smallest of the engine's that holds them."""
        ...

    def allocate(self, batch: int, capacity: int, bound: bool, read: bool) -> Cache:
        """A cache of at least these sizes, its contents undefined; its memory goes when the last reference to it does.

        `bound` says that steps will write into its lanes (`run` with `bind`), `read` that they will attend to it.
        """
        ...

    def inputs(self, profile: Profile) -> StepInputs:
        """The buffers to fill before `run`; they keep what was written for the last step of this profile."""
        ...

    def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
        """Run one step over the read-only `cache` (None: no slots).

        With `bind`, the step's new keys and values are written straight into those lanes, whose capacity equals the
        profile's queries. With `keep_rows` they stay available to `store` until the next step.
        """
        ...

    def store(self, cache: Lanes, slots: Int64, row: int, rows: Int64) -> None:
        """Copy `rows` `[n]` of batch row `row` of the last step (run with `keep_rows`) to `slots` `[n]` of one lane."""
        ...

    def saliency(self, cache: Lanes, queries: Float32) -> Float32:
        """Mean over key heads of query times key, `[layers, capacity]`, for one lane; `queries` is `[layers, Hkv, D]`."""
        ...

    def select(self, source: Lanes, keep: Int64, target: Lanes) -> None:
        """Copy the slots `keep` `[layers, m]` of one lane to the first m slots of another."""
        ...
