"""Whose forwards run together: refreshes of neighbouring lanes, and one batched step of those that want the same sizes."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Listed
from dataclasses import dataclass, replace

from ...graphs.contract import Profile
from ...graphs.errors import DllmEdgeError
from ..decoding.step import Forward, Refresh, Step
from ..engines.base import Cache, Engine, Lanes
from .sequence import Sequence

PATIENCE = 4
"""Steps of the scheduler after which the group that has waited longest goes before larger ones."""
LEAST_FILL = 0.75
"""The share of a cache's slots that a refresh must fill to be padded to all of them and be written straight into the cache;
one that fills less runs at its own width, and its rows are copied."""
LARGEST_REFRESH = 2048
"""Rows that refreshes send together at most: beyond them a larger batch takes memory and is no faster."""

Engines = Mapping[str, Engine]
Key = tuple[str, Profile, int, bool]
"""What sequences that share a step have in common: model, sizes of one, cache (0: none), and whether rows are kept."""


@dataclass(frozen=True, eq=False)
class Group:
    """Sequences whose forwards run as one at `profile`, each in its row of the batch.

    `cache` is read, `bind` is written; with `keep_rows` the rows stay for `store`. `evicts`: the one sequence's refresh
    goes to a buffer that is made for it.
    """

    sequences: Listed[Sequence]
    profile: Profile
    model: str
    rows: Listed[int] = (0,)
    cache: Lanes | None = None
    bind: Lanes | None = None
    keep_rows: bool = False
    evicts: bool = False


def shared_refreshes(queries: int) -> int:
    """Return how many refreshes of so many rows each run together at most."""
    return max(1, LARGEST_REFRESH // queries)


def engine_of(engines: Engines, model: str) -> Engine:
    """Return the engine of a model; raises `DllmEdgeError` where there is none."""
    if model not in engines:
        raise DllmEdgeError(f"this decode asks for a model '{model}' beside the one that is decoded: load it with one")
    return engines[model]


def check_sizes(engines: Engines, sequence: Sequence) -> None:
    """Raise `DllmEdgeError` where an engine does not have the sizes of what the sequence wants, alone."""
    wanted_refreshes(engines, [sequence])
    if sequence.step is not None:
        _key(engines, sequence, sequence.step, sequence.step.input_ids.size)


def wanted_refreshes(engines: Engines, active: Listed[Sequence]) -> list[Group]:
    """Return the refreshes that are wanted: together where lanes are neighbours and sizes equal, else one by one."""
    groups: list[Group] = []
    neighbours: dict[tuple[int, int], list[tuple[Sequence, Refresh]]] = {}
    for sequence in active:
        refresh = sequence.refresh
        if refresh is None:
            continue
        cache = _filled_cache(sequence, refresh)
        if cache is None:
            groups.append(_alone(engine_of(engines, refresh.model), sequence, refresh))
        else:
            neighbours.setdefault((id(cache), _targets(refresh)), []).append((sequence, refresh))
    return groups + [group for wanting in neighbours.values() for group in _joined(engines, wanting)]


def _filled_cache(sequence: Sequence, refresh: Refresh) -> Cache | None:
    """Return the cache that the refresh is to be written straight into, None where it is not."""
    if refresh.evicts:
        return None
    cache = sequence.lanes[refresh.model].cache
    return cache if refresh.input_ids.size >= LEAST_FILL * cache.capacity else None


def _alone(engine: Engine, sequence: Sequence, refresh: Refresh) -> Group:
    """Return a refresh at its own width, into a buffer to evict from or with its rows kept."""
    _, width = engine.sizes.cache(1, refresh.input_ids.size, True, False) if refresh.evicts else (1, refresh.input_ids.size)
    profile = engine.profile(_sizes(refresh, 1, width, 0))
    return Group([sequence], profile, refresh.model, keep_rows=not refresh.evicts, evicts=refresh.evicts)


def _joined(engines: Engines, wanting: list[tuple[Sequence, Refresh]]) -> list[Group]:
    """Return groups over neighbouring lanes of one cache."""
    model = wanting[0][1].model
    runs: list[list[tuple[Sequence, Refresh]]] = []
    for sequence, refresh in sorted(wanting, key=lambda pair: pair[0].lanes[model].index):
        lane = sequence.lanes[model]
        widest = shared_refreshes(lane.cache.capacity)
        if runs and len(runs[-1]) < widest and runs[-1][-1][0].lanes[model].index == lane.index - 1:
            runs[-1].append((sequence, refresh))
        else:
            runs.append([(sequence, refresh)])
    return [group for run in runs for group in _bound(engines[model], run)]


def _bound(engine: Engine, wanting: list[tuple[Sequence, Refresh]]) -> list[Group]:
    """Return one group that fills its lanes and no other; where the engine has no such sizes, one for each sequence."""
    refresh, count = max((refresh for _, refresh in wanting), key=lambda one: one.logit_rows.size), len(wanting)
    lane = wanting[0][0].lanes[refresh.model]
    wanted = _sizes(refresh, count, lane.cache.capacity, 0)
    if count > 1 and not _fits(engine, wanted):
        return [group for pair in wanting for group in _bound(engine, [pair])]
    bind = Lanes(lane.cache, lane.index, count)
    sequences = [sequence for sequence, _ in wanting]
    return [Group(sequences, engine.profile(wanted), refresh.model, range(count), bind=bind)]


def _fits(engine: Engine, wanted: Profile) -> bool:
    try:
        profile = engine.profile(wanted)
    except DllmEdgeError:
        return False
    return (profile.batch, profile.queries) == (wanted.batch, wanted.queries)


def next_step(engines: Engines, active: Listed[Sequence]) -> Group | None:
    """Return the batched step whose turn it is, if any is wanted; who wants another has waited for it."""
    wanting = [(sequence, step) for sequence in active if (step := sequence.step) is not None]
    if not wanting:
        return None
    if len(active) == 1:
        sequence, step = wanting[0]
        key = _key(engines, sequence, step, step.input_ids.size)
        return _batched(engines[key[0]], [sequence], key)
    longest = max((step.input_ids.size for sequence, step in wanting if _is_whole(sequence, step)), default=0)
    groups: dict[Key, list[Sequence]] = {}
    for sequence, step in wanting:
        groups.setdefault(_key(engines, sequence, step, longest), []).append(sequence)
    key, chosen = max(groups.items(), key=lambda item: _urgency(item[1]))
    group = _as_many(engines[key[0]], chosen, key)
    for sequence in active:
        sequence.waited = 0 if sequence in group.sequences else sequence.waited + 1
    return group


def _key(engines: Engines, sequence: Sequence, step: Step, longest: int) -> Key:
    """Return what the step must share with others; steps over whole canvases are padded to the longest so that they can."""
    engine = engine_of(engines, step.model)
    lane = None if step.visible is None else sequence.lanes.get(step.model)
    capacity = lane.cache.capacity if lane else 0
    queries = longest if _is_whole(sequence, step) else step.input_ids.size
    sizes = engine.profile(_sizes(step, 1, queries, capacity))
    # An engine may run an empty cache as one of a few slots: for us it stays empty.
    sizes = sizes if sizes.capacity == capacity else replace(sizes, capacity=capacity)
    return step.model, sizes, id(lane.cache) if lane else 0, step.keep_rows


def _as_many(engine: Engine, sequences: list[Sequence], key: Key) -> Group:
    """Return the step of a group; where the engine does not have its sizes, of the half that has waited longest."""
    try:
        return _batched(engine, sequences, key)
    except DllmEdgeError:
        if len(sequences) == 1:
            raise
        longest_first = sorted(sequences, key=lambda sequence: (-sequence.waited, sequence.forwards))
        return _as_many(engine, longest_first[: (len(sequences) + 1) // 2], key)


def _batched(engine: Engine, sequences: list[Sequence], key: Key) -> Group:
    """Return the step of a group: over the lanes from its first to its last, those of nobody on padding."""
    model, sizes, cached, keep_rows = key
    lanes = [sequence.lanes[model].index for sequence in sequences] if cached else list(range(len(sequences)))
    count = max(lanes) - min(lanes) + 1 if len(lanes) > 1 else 1
    profile = engine.profile(sizes if count == sizes.batch else replace(sizes, batch=count))
    if not cached:
        return Group(sequences, profile, model, lanes, keep_rows=keep_rows)
    cache = sequences[0].lanes[model].cache
    # An engine may run more lanes than are wanted, and all of them must be there.
    first = min(min(lanes), cache.batch - profile.batch)
    rows = [lane - first for lane in lanes]
    return Group(sequences, profile, model, rows, Lanes(cache, first, profile.batch), keep_rows=keep_rows)


def _sizes(forward: Forward, batch: int, queries: int, capacity: int) -> Profile:
    return Profile(batch, queries, capacity, max(1, forward.logit_rows.size), _targets(forward))


def _targets(forward: Forward) -> int:
    return 1 if forward.target_ids is None else int(forward.target_ids.shape[1])


def _is_whole(sequence: Sequence, step: Step) -> bool:
    """Whether the step sends a whole canvas, or more than that, and reads no cache."""
    return step.visible is None and step.input_ids.size >= len(sequence.request.canvas)


def _urgency(group: list[Sequence]) -> tuple[int, int]:
    """Return what a group is chosen by: how long it has waited, once that is too long; then its size."""
    waited = max(sequence.waited for sequence in group)
    return (waited if waited >= PATIENCE else 0, len(group))
