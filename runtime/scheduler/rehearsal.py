"""What a decode will ask of an engine, found before it is asked: the driver run on an engine that computes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from weakref import WeakKeyDictionary

import numpy as np

from ...graphs.config import ModelConfig
from ...graphs.contract import Profile
from ...graphs.errors import DllmEdgeError
from ..arrays import FloatArray, IntArray
from ..decoding.canvas import Canvas
from ..decoding.settings import Settings
from ..engines.base import Engine, Lanes, StepOutputs
from ..engines.host import HostCache, HostCaches
from ..engines.profiles import Workload
from ..engines.sizes import RoundedSizes, Sizes, slot_multiple
from ..systems import find_system
from ..systems.base import System
from .request import Request
from .scheduler import Scheduler

Use = tuple[System, Settings]
"""A system and the settings that it will decode with."""

UNSURE = 100.0
"""A log-partition so high that no rule commits more than it must: every step that there can be is seen."""


_REHEARSED: WeakKeyDictionary[Sizes, set[object]] = WeakKeyDictionary()


def derive_workload(config: ModelConfig, uses: Iterable[Use], contexts: Iterable[int], batch: int = 1) -> Workload:
    """The sizes of all steps and cache operations of decodes of up to `contexts` tokens, prompt and generation together.

    Shorter ones are padded to the next. Steps are alone and, where `batch` is more than 1, `batch` at a time; refreshes
    are always alone. Raises `DllmEdgeError` for a context that has no room for a prompt.
    """
    profiles: set[Profile] = set()
    saliency: set[int] = set()
    select: set[tuple[int, int]] = set()
    for (system, settings), context in product(list(uses), sorted(set(contexts))):
        engine = _DryEngine(config, RoundedSizes(slot_multiple(config)))
        _decode(engine, system, settings, context)
        for profile, bound in engine.steps:
            sizes = {1} if bound else {1, batch}
            profiles |= {replace(profile, batch=size) for size in sizes}
        saliency |= engine.scored
        select |= engine.moved
    # A lane may be filled from the staging buffer of any context.
    moves = product({source for source, _ in select}, {target for _, target in select})
    return Workload(
        tuple(sorted(profiles, key=lambda profile: (profile.capacity, profile.queries, profile.batch, profile.rows))),
        tuple(sorted(saliency)),
        tuple(sorted(move for move in moves if move[0] >= move[1])),
    )


def rehearse(engine: Engine, requests: Iterable[Request]) -> None:
    """Raise `DllmEdgeError` where a request will want what `engine` was not built for; of an engine that takes all, nothing."""
    done = _REHEARSED.setdefault(engine.sizes, set())
    for system, settings, length in {(one.system.name, one.settings, len(one.canvas)) for one in requests}:
        context = engine.sizes.context(max(length, settings.gen_length + 1))
        if context is not None and (system, settings, context) not in done:
            _decode(_DryEngine(engine.config, engine.sizes), find_system(system), settings, context)
            done.add((system, settings, context))


def _decode(engine: _DryEngine, system: System, settings: Settings, context: int) -> None:
    config = engine.config
    if context > config.max_positions:
        raise DllmEdgeError(
            f"context {context} is more than the {config.max_positions} positions of this model: lower --context to that"
        )
    if context <= settings.gen_length:
        raise DllmEdgeError(
            f"context {context} has no room for a prompt beside gen_length={settings.gen_length}: use a larger context"
        )
    canvas = Canvas.from_prompt(engine.answer[:1] * (context - settings.gen_length), settings.gen_length, config)
    for _ in Scheduler(engine).run([Request(canvas, system, replace(settings, early_stop=False))]):
        pass


class _DryEngine(HostCaches):
    """Notes what it is asked for at the sizes that an engine would run. Its caches have one layer of one head."""

    name = "none"

    def __init__(self, config: ModelConfig, sizes: Sizes) -> None:
        super().__init__(replace(config, layers=1, heads=1, kv_heads=1, head_dim=2), "float32", 2)
        self.sizes = sizes
        self.steps: set[tuple[Profile, bool]] = set()
        self.scored: set[int] = set()
        self.moved: set[tuple[int, int]] = set()
        self.answer = [token for token in range(config.vocab_size) if token != config.mask_token_id][:2]

    def profile(self, wanted: Profile) -> Profile:
        return self.sizes.profile(wanted)

    def allocate(self, batch: int, capacity: int, bound: bool = True, read: bool = True) -> HostCache:
        return super().allocate(batch, capacity, bound, read)

    def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
        self.steps.add((profile, bind is not None))
        outputs = self.workspace(profile).outputs
        outputs.topk_ids[:] = self.answer
        outputs.logsumexp[:] = UNSURE
        return outputs

    def store(self, cache: Lanes, slots: IntArray, row: int, rows: IntArray) -> None:
        return

    def saliency(self, cache: Lanes, queries: FloatArray) -> FloatArray:
        self.sizes.check_saliency(cache.cache.capacity)
        self.scored.add(cache.cache.capacity)
        return np.zeros((1, cache.cache.capacity), dtype=np.float32)

    def select(self, source: Lanes, keep: IntArray, target: Lanes) -> None:
        self.sizes.check_select(source.cache.capacity, target.cache.capacity)
        self.moved.add((source.cache.capacity, target.cache.capacity))
