"""What a decode will ask of an engine, found before it is asked: the scheduler run on an engine that computes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from weakref import WeakKeyDictionary

import numpy as np

from ...graphs import contract
from ...graphs.config import ModelConfig
from ...graphs.contract import Profile
from ...graphs.errors import DllmEdgeError
from ..arrays import FloatArray, IntArray
from ..decoding.canvas import Canvas
from ..decoding.settings import Settings
from ..decoding.step import GUIDE, MAIN
from ..decoding.token_map import TokenMap
from ..engines.base import Engine, Lanes, StepOutputs
from ..engines.host import HostCaches
from ..engines.profiles import Workload
from ..engines.sizes import AnySizes, RoundedSizes, Sizes, slot_multiple
from ..systems.base import System
from .groups import shared_refreshes
from .request import Request
from .scheduler import Scheduler

Use = tuple[System, Settings]
"""A system and the settings that it will decode with."""

UNSURE = 100.0
"""An entropy, and less a log probability, so high that no rule commits more than it must: every possible step is seen."""

_REHEARSED: WeakKeyDictionary[Sizes, set[object]] = WeakKeyDictionary()


@dataclass(frozen=True)
class RehearsedForward:
    """One forward: its sizes, and whether its rows fill a cache or an evicting refresh's buffer."""

    profile: Profile
    fills: bool


@dataclass(frozen=True, eq=False)
class Rehearsal:
    """What one decode asks of one engine: its forwards in order, its cache operations, and what its caches hold.

    `saliency` are the capacities of the caches that are scored, `select` those that slots move from and to. `steady_slots`
    are those of the sequence's cache, `peak_slots` with the buffer of an evicting refresh beside it.
    """

    forwards: list[RehearsedForward]
    saliency: set[int]
    select: set[tuple[int, int]]
    steady_slots: int
    peak_slots: int


def rehearse(
    config: ModelConfig, use: Use, context: int, sizes: Sizes | None = None, guide: ModelConfig | None = None
) -> Rehearsal:
    """Decode a canvas of `context` tokens, prompt and generation together, on an engine that computes nothing.

    `sizes` are those that an engine would run (None: exactly those that are wanted); `guide` is the model beside the
    decoded one, if the system asks for one (None: of the same vocabulary). Raises `DllmEdgeError` for a context that has no
    room for a prompt, and for what `sizes` refuses.
    """
    system, settings = use
    _check_context(config, settings, context)
    engine = _RehearsalEngine(config, sizes or AnySizes())
    engines: dict[str, Engine] = {MAIN: engine}
    if guide is not None or system.guided:
        judge = engines[GUIDE] = _RehearsalEngine(guide or config, AnySizes())
        # Never what the decoded model drafts: every possible step is seen.
        judge.answer = 2 * [
            next(token for token in range(config.vocab_size) if token not in (config.mask_token_id, *engine.answer))
        ]
    canvas = Canvas.from_prompt(engine.answer[:1] * (context - settings.gen_length), settings.gen_length, config)
    scheduler = Scheduler(engines)
    tokens = TokenMap.identity(config.vocab_size) if system.guided else None
    for _ in scheduler.run([Request(canvas, system, settings.replace(early_stop=False), tokens_of_guide=tokens)]):
        pass
    slot = contract.cache_bytes(engine.config, engine.cache_dtype, 1)
    return Rehearsal(
        engine.forwards,
        engine.scored,
        engine.moved,
        scheduler.steady_cache_bytes // slot,
        scheduler.peak_cache_bytes // slot,
    )


def derive_workload(config: ModelConfig, uses: Iterable[Use], contexts: Iterable[int], batch: int = 1) -> Workload:
    """Return the sizes of all forwards and cache operations of decodes of up to `contexts` tokens.

    Shorter ones are padded to the next. Forwards are alone and, where `batch` is more than 1, `batch` at a time. Raises
    `DllmEdgeError` as `rehearse` does.
    """
    profiles: set[Profile] = set()
    saliency: set[int] = set()
    select: set[tuple[int, int]] = set()
    for use, context in product(list(uses), sorted(set(contexts))):
        rehearsal = rehearse(config, use, context, RoundedSizes(slot_multiple(config)))
        for forward in rehearsal.forwards:
            profiles |= {replace(forward.profile, batch=size) for size in _batches(forward, batch)}
        saliency |= rehearsal.saliency
        select |= rehearsal.select
    # A lane may be filled from the buffer of any context; one that becomes larger, from its own.
    moves = product({source for source, _ in select}, {target for _, target in select})
    return Workload(
        tuple(sorted(profiles, key=lambda profile: (profile.capacity, profile.queries, profile.batch, profile.rows))),
        tuple(sorted(saliency)),
        tuple(sorted(select | {move for move in moves if move[0] >= move[1]})),
    )


def _batches(forward: RehearsedForward, batch: int) -> set[int]:
    """Return the batches in which a forward runs: refreshes share one only while they are small."""
    together = not forward.fills or batch <= shared_refreshes(forward.profile.queries)
    return {1, batch} if together else {1}


def check_served(engine: Engine, requests: Iterable[Request]) -> None:
    """Raise `DllmEdgeError` where a request will want what `engine` was not built for; of an engine that takes all, nothing."""
    done = _REHEARSED.setdefault(engine.sizes, set())
    for system, settings, length in {(one.system, one.settings, len(one.canvas)) for one in requests}:
        context = engine.sizes.context(max(length, settings.gen_length + 1))
        if context is not None and (system.name, settings, context) not in done:
            rehearse(engine.config, (system, settings), context, engine.sizes)
            done.add((system.name, settings, context))


def _check_context(config: ModelConfig, settings: Settings, context: int) -> None:
    most, generated = config.max_positions, settings.gen_length
    if context > most:
        also = f" --gen-length {most - 1}" if generated >= most else ""
        raise DllmEdgeError(f"context {context} is more than the {most} positions of this model: use --context {most}{also}")
    if context <= generated:
        larger = f"--context {generated + 1} or more, or " if generated < most else ""
        raise DllmEdgeError(
            f"context {context}, which is prompt and generation together, has no room for a prompt beside "
            f"gen_length={generated}: use {larger}--gen-length {context - 1} or less"
        )


class _RehearsalEngine(HostCaches):
    """Notes what it is asked for at the sizes that an engine would run. Its caches have one layer of one head."""

    name = "none"

    def __init__(self, config: ModelConfig, sizes: Sizes) -> None:
        super().__init__(replace(config, layers=1, heads=1, kv_heads=1, head_dim=2), "float32", 2)
        self.sizes = sizes
        self.forwards: list[RehearsedForward] = []
        self.scored: set[int] = set()
        self.moved: set[tuple[int, int]] = set()
        self.answer = [token for token in range(config.vocab_size) if token != config.mask_token_id][:2]

    def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
        self.forwards.append(RehearsedForward(profile, bind is not None))
        inputs, outputs = self.workspace(profile).inputs, self.workspace(profile).outputs
        # Another token by every forward: no draft of the steps to come is ever right.
        outputs.topk_ids[:] = self.answer[:: 1 if len(self.forwards) % 2 else -1]
        # Every second position first, so that what is masked lies scattered: it may need more rows then.
        positions = np.take_along_axis(inputs.position_ids, inputs.logit_rows, axis=1)
        outputs.topk_log_probs[:] = -UNSURE - positions[:, :, None] % 2
        outputs.entropy[:] = UNSURE
        outputs.target_log_probs[:] = -UNSURE
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
