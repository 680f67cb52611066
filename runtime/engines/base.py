"""What the scheduler asks of an engine: steps of the contract's graph, caches, and the four operations that touch them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ...graphs.config import ModelConfig
from ...graphs.contract import Profile
from ...graphs.dtypes import DType
from ..arrays import BoolArray, FloatArray, IntArray
from .sizes import Sizes


@dataclass(frozen=True, eq=False)
class StepInputs:
    """Host buffers that an engine owns and the scheduler fills in place; shapes as in `graphs.contract`."""

    input_ids: IntArray
    position_ids: IntArray
    attention_mask: BoolArray
    logit_rows: IntArray
    target_ids: IntArray
    saliency_weights: FloatArray


@dataclass(frozen=True, eq=False)
class StepOutputs:
    """Host buffers that an engine owns; valid until its next step of the same profile."""

    topk_ids: IntArray
    topk_log_probs: FloatArray
    entropy: FloatArray
    target_log_probs: FloatArray
    saliency_queries: FloatArray


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

    @property
    def size(self) -> tuple[int, int]:
        """Lanes, and slots of each."""
        return self.count, self.cache.capacity


@dataclass(frozen=True)
class LoadedGraph:
    """A graph as its library holds it: an `InferenceSession` of `onnxruntime`, or an engine that `tensorrt` or
    `tensorrt-rtx` deserialised, whose profiles are in the order of `Sizes.profiles`."""

    library: str
    handle: Any


class Engine(Protocol):
    """Runs the step graph of one bundle. A cache is only ever handed back to the engine that allocated it."""

    @property
    def name(self) -> str: ...

    @property
    def config(self) -> ModelConfig: ...

    @property
    def versions(self) -> Mapping[str, str]:
        """The version of each library that runs the graphs, by the library's name."""
        ...

    @property
    def cache_dtype(self) -> DType:
        """The dtype of cached keys and values, which is what the graph computes in."""
        ...

    @property
    def sizes(self) -> Sizes:
        """The choice of the sizes that are run for those wanted, and what is refused."""
        ...

    def profile(self, wanted: Profile) -> Profile:
        """Return the sizes that will be run for those wanted: the same, or the smallest of the engine's that holds them."""
        ...

    def allocate(self, batch: int, capacity: int, bound: bool, read: bool) -> Cache:
        """Make a cache of at least these sizes, its contents undefined; its memory goes when the last reference to it does.

        `bound` says that steps will write into its lanes (`run` with `bind`), `read` that they will attend to it.
        """
        ...

    def inputs(self, profile: Profile) -> StepInputs:
        """Return the buffers to fill before `run`; they keep what was written for the last step of this profile."""
        ...

    def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
        """Run one step over the read-only `cache` (None: no slots).

        With `bind`, the step's new keys and values are written straight into those lanes, whose capacity equals the
        profile's queries. With `keep_rows` they stay available to `store` until the next step.
        """
        ...

    def store(self, cache: Lanes, slots: IntArray, row: int, rows: IntArray) -> None:
        """Copy `rows` `[n]` of batch row `row` of the last step (run with `keep_rows`) to `slots` `[n]` of one lane."""
        ...

    def copy(self, source: Lanes, target: Lanes) -> None:
        """Copy whole lanes to as many lanes of another cache; asserts that it is of the same capacity."""
        ...

    def saliency(self, cache: Lanes, queries: FloatArray) -> FloatArray:
        """Return the mean over key heads of query times key `[layers, capacity]` of one lane; `queries`: `[layers, Hkv, D]`."""
        ...

    def select(self, source: Lanes, keep: IntArray, target: Lanes) -> None:
        """Copy the slots `keep` `[layers, m]` of one lane to the first m slots of another."""
        ...

    def loaded_step(self) -> LoadedGraph | None:
        """Return what runs the step's graph, for whoever runs it beside this engine; None where no library holds a graph."""
        ...
