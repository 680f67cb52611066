"""Forwards that no system should ask for, after one that was right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dllm_edge.graphs.contract import Profile
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.arrays import IntArray
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.step import Forward, Refresh, Step
from dllm_edge.runtime.engines.fixed_sizes import FixedSizes
from dllm_edge.runtime.engines.profiles import Workload
from dllm_edge.runtime.scheduler.cache_pool import CachePool
from dllm_edge.runtime.scheduler.checks import check_forward
from dllm_edge.runtime.scheduler.request import Request
from dllm_edge.runtime.scheduler.sequence import Sequence
from dllm_edge.runtime.systems.base import find_system

from ..numpy_engine import CONFIG, NumpyEngine

SLOTS = 8


def upto(count: int) -> IntArray:
    return np.arange(count)


RIGHT = Step(
    input_ids=upto(4),
    position_ids=upto(4),
    logit_rows=upto(2),
    predicts=upto(2),
    own_mask=np.ones((4, 4), dtype=bool),
    target_ids=np.zeros((2, 1), dtype=np.int64),
    visible=np.ones(SLOTS, dtype=bool),
)


@pytest.fixture
def engine() -> NumpyEngine:
    return NumpyEngine()


@pytest.fixture
def sequence(engine: NumpyEngine) -> Sequence:
    """With a cache of `SLOTS` slots, after a check of `RIGHT`."""
    canvas = Canvas.from_prompt([1, 2], 4, CONFIG)
    sequence = Sequence(Request(canvas, find_system("vanilla"), Settings(gen_length=4, block_length=4)))
    sequence.lanes["main"] = CachePool(engine, 1).take(SLOTS, bound=True)
    sequence.pending = RIGHT
    check_forward({"main": engine}, sequence)
    return sequence


@pytest.mark.parametrize(
    "changes",
    [
        {"input_ids": upto(5)},
        {"input_ids": upto(0), "position_ids": upto(0)},
        {"input_ids": np.array([0, 1, 2, CONFIG.vocab_size])},
        {"input_ids": np.array([0, 1, 2, -1])},
        {"position_ids": upto(3)},
        {"input_ids": upto(5), "position_ids": upto(5)},
        {"logit_rows": upto(3)},
        {"predicts": upto(1)},
        {"own_mask": np.ones((4, 5), dtype=bool)},
        {"visible": np.ones(SLOTS + 1, dtype=bool)},
        {"visible": np.ones((4, SLOTS + 1), dtype=bool)},
    ],
)
def test_what_is_wrong_is_seen_after_a_right_one(engine: NumpyEngine, sequence: Sequence, changes: dict[str, Any]) -> None:
    sequence.pending = replace(RIGHT, **changes)
    with pytest.raises(AssertionError):
        check_forward({"main": engine}, sequence)


def test_a_smaller_cache_is_looked_at_again(engine: NumpyEngine, sequence: Sequence) -> None:
    sequence.lanes["main"] = CachePool(engine, 1).take(SLOTS - 1, bound=True)
    with pytest.raises(AssertionError, match="a step sees 8 slots of a cache of 7"):
        check_forward({"main": engine}, sequence)


@pytest.mark.parametrize("rows", [SLOTS, SLOTS + 1])
def test_a_refresh_fills_a_cache_that_holds_it(engine: NumpyEngine, sequence: Sequence, rows: int) -> None:
    ids = np.zeros(rows, dtype=np.int64)
    sequence.pending = Refresh(ids, upto(rows), upto(1), upto(1))
    if rows == SLOTS:
        check_forward({"main": engine}, sequence)
    else:
        with pytest.raises(AssertionError, match="a refresh of 9 rows fills a cache of 8 slots"):
            check_forward({"main": engine}, sequence)


@pytest.mark.parametrize(
    "changes",
    [
        {"logit_rows": upto(3), "predicts": upto(3)},
        {"target_ids": np.zeros((2, 2), dtype=np.int64)},
        {"input_ids": upto(5), "position_ids": upto(5), "own_mask": None},
    ],
)
def test_what_the_engine_was_not_built_for_is_refused(engine: NumpyEngine, sequence: Sequence, changes: dict[str, Any]) -> None:
    engine.sizes = FixedSizes(Workload((Profile(1, 4, SLOTS, 2),)), 1, "run 'build'")
    check_forward({"main": engine}, sequence)
    sequence.pending = replace(RIGHT, **changes)
    with pytest.raises(DllmEdgeError, match="run 'build'"):
        check_forward({"main": engine}, sequence)


def test_other_ids_alone_are_not_looked_at_as_a_whole(engine: NumpyEngine, sequence: Sequence) -> None:
    checked = sequence.checked
    sequence.pending = replace(RIGHT, input_ids=upto(4)[::-1].copy())
    check_forward({"main": engine}, sequence)
    assert checked is not None
    assert sequence.checked is checked
    sequence.pending = replace(RIGHT, own_mask=None)
    check_forward({"main": engine}, sequence)
    other: Forward | None = sequence.checked[0] if sequence.checked else None
    assert other is sequence.pending
