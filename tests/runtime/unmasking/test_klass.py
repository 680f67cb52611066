from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from dllm_edge.runtime.arrays import Array, FloatArray, IntArray
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.unmasking.klass import History, Klass, divergence
from dllm_edge.runtime.unmasking.proposals import Proposals
from dllm_edge.runtime.unmasking.rule import Budget

from ..numpy_engine import CONFIG, ENDLESS, MASK, NumpyEngine
from ..recorder import finish
from ..scripted import proposals_of, request

CANVAS = Canvas([7, *[MASK] * 4], CONFIG)
Row = dict[int, float]


def known(*rows: Row) -> tuple[IntArray, FloatArray]:
    """Candidates and their log probabilities, best first."""
    ordered = [sorted(row.items(), key=lambda item: -item[1]) for row in rows]
    ids = np.array([[token for token, _ in row] for row in ordered])
    return ids, np.log(np.array([[value for _, value in row] for row in ordered], dtype=np.float32))


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        ({1: 0.5, 2: 0.25}, {1: 0.5, 2: 0.25}, 0.0),
        # All three: the third is the one left.
        ({1: 0.5, 2: 0.25}, {1: 0.25, 2: 0.5}, 0.5 * np.log(2) - 0.25 * np.log(2)),
        ({1: 0.8, 2: 0.1}, {1: 0.4, 2: 0.4}, 0.8 * np.log(2) + 0.1 * np.log(0.25) + 0.1 * np.log(0.5)),
        # 3 is new and had 0.1 at most, 2 is not known any more: 0.3 log 3, and 0.2 of what had 0.4 left.
        ({1: 0.5, 3: 0.3}, {1: 0.5, 2: 0.1}, 0.3 * np.log(3) + 0.2 * np.log(0.2 / 0.4)),
        # 3 is new, but may have had as much as the others would give it: they are merged.
        ({1: 0.5, 3: 0.1}, {1: 0.5, 2: 0.2}, 0.0),
        # Nothing in common: what was the best has gone to another.
        ({1: 0.9, 2: 0.09}, {3: 0.9, 4: 0.05}, 0.9 * np.log(18) + 0.09 * np.log(0.09 / 0.05) + 0.01 * np.log(0.01 / 0.9)),
    ],
)
def test_divergence(now: Row, before: Row, expected: float) -> None:
    (nats,) = divergence(*known(now), *known(before))
    assert nats == pytest.approx(expected, abs=1e-6)


def best(probabilities: Array, count: int) -> tuple[IntArray, FloatArray]:
    ids = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    return ids, np.log(np.take_along_axis(probabilities, ids, 1)).astype(np.float32)


def drawn(random: np.random.Generator, sharpness: float) -> tuple[Array, Array]:
    """Distributions of 64 rows over 40 ids, and others not far from them."""
    logits = random.standard_normal((64, 40)) * sharpness
    both = [np.exp(part) for part in (logits, logits + random.standard_normal((64, 40)))]
    return both[0] / both[0].sum(1, keepdims=True), both[1] / both[1].sum(1, keepdims=True)


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 3.0, 8.0])
def test_it_is_never_more_than_that_over_all_ids_and_equal_where_all_but_one_are_candidates(sharpness: float) -> None:
    now, before = drawn(np.random.default_rng(0), sharpness)
    full = (now * np.log(now / before)).sum(1)
    bounds = [divergence(*best(now, count), *best(before, count)) for count in (1, 4, 16, 32)]
    assert all((bound <= full + 1e-5).all() for bound in bounds)
    assert all(fewer.mean() <= more.mean() for fewer, more in pairwise(bounds))
    np.testing.assert_allclose(divergence(*best(now, 40), *best(before, 40)), full, atol=1e-5)
    same = best(now[:, :39] / now[:, :39].sum(1, keepdims=True) * 0.9, 39)
    other = best(before[:, :39] / before[:, :39].sum(1, keepdims=True) * 0.8, 39)
    exact = (0.9 * (full39(now, before) + np.log(0.9 / 0.8))) + 0.1 * np.log(0.1 / 0.2)
    np.testing.assert_allclose(divergence(*same, *other), exact, atol=1e-5)


def full39(now: Array, before: Array) -> Array:
    first, second = (part[:, :39] / part[:, :39].sum(1, keepdims=True) for part in (now, before))
    divergences: Array = (first * np.log(first / second)).sum(1)
    return divergences


def begun(masks: int = 4, steps: int = 4, **settings: Any) -> Klass:
    return Klass(Settings(unmask="klass", **settings), Budget(masks, steps, 0, np.random.default_rng(0), Block(1, 1 + masks)))


def seen(*rows: Row, first: int = 1) -> Proposals:
    """Proposals of two candidates each, for the positions from `first` on."""
    ids, log_probs = known(*rows)
    made = proposals_of([row[token] for row, token in zip(rows, ids[:, 0].tolist(), strict=True)])
    result = replace(made.result, topk_ids=ids, topk_log_probs=log_probs)
    return replace(made, positions=made.positions - 1 + first, ids=ids[:, 0], result=result)


SURE, OTHER, UNSURE = {1: 0.96, 2: 0.02}, {1: 0.92, 2: 0.02}, {3: 0.5, 4: 0.2}


def test_what_is_sure_and_has_stood_still_is_ready() -> None:
    """The first step knows nothing; the second has one comparison, the third two."""
    rule = begun(kl_threshold=0.05)
    chosen = [rule.choose(seen(OTHER, SURE, SURE, UNSURE), CANVAS, step).commit.tolist() for step in range(3)]
    assert chosen == [[1], [1], [1, 2, 0]]


def test_one_that_moved_waits_for_as_many_steps_again() -> None:
    rule = begun(kl_threshold=0.001)
    steps = [(SURE, SURE), (SURE, SURE), (OTHER, SURE), (OTHER, SURE), (OTHER, SURE)]
    chosen = [rule.choose(seen(*rows), CANVAS, step).commit.tolist() for step, rows in enumerate(steps)]
    assert chosen == [[0], [0], [1], [1], [1, 0]]


def test_neither_alone_is_enough() -> None:
    """As sure as the threshold is not surer; as far as the bound is not nearer."""
    even: Row = {1: 0.5, 2: 0.25}
    for threshold, kl_threshold, count in ((0.5, 0.01, 1), (0.49, 0.01, 2), (0.49, 0.0, 1)):
        rule = begun(kl_steps=1, threshold=threshold, kl_threshold=kl_threshold)
        rule.choose(seen(even, even), CANVAS, 0)
        assert rule.choose(seen(even, even), CANVAS, 1).commit.size == count


def test_where_none_is_ready_it_is_the_steps_quota() -> None:
    """2, 1, 1 over three steps, whatever was committed before; then one."""
    rule = begun(steps=3)
    sizes = [rule.choose(seen(UNSURE, UNSURE, UNSURE), CANVAS, step).commit.size for step in range(5)]
    assert sizes == [2, 1, 1, 1, 1]


def test_a_position_that_is_seen_later_has_no_history() -> None:
    rule = begun(kl_steps=1)
    rule.choose(seen(SURE), CANVAS, 0)
    assert rule.choose(seen(SURE, SURE), CANVAS, 1).commit.tolist() == [0]
    assert rule.choose(seen(SURE, first=2), CANVAS, 2).commit.tolist() == [0]


def test_a_history_of_earlier_blocks_counts_from_the_step_that_could_have_it() -> None:
    """With two steps in it a block's first step has none ready, its second all."""
    for steps, first in ((1, [0, 1]), (2, [0])):
        rule = begun(kl_steps=steps)
        rule.history = History(5, steps)
        for _ in range(3):
            rule.history.add(np.array([1, 2]), *known(SURE, SURE))
        assert rule.choose(seen(SURE, SURE), CANVAS, 0).commit.tolist() == first
        assert rule.choose(seen(SURE, SURE), CANVAS, 1).commit.tolist() == [0, 1]


def test_gates_are_what_each_confidence_would_need() -> None:
    """What it lacks of standing still, a probability lacks; of what has no history nothing is known."""
    rule = begun(kl_steps=1, kl_threshold=0.01)
    rule.choose(seen(SURE, UNSURE), CANVAS, 0)
    assert list(rule.gates()) == []
    rule.choose(seen(OTHER, UNSURE), CANVAS, 1)
    moved = 0.92 * np.log(0.92 / 0.96) + 0.06 * np.log(0.06 / 0.02)
    assert list(rule.gates()) == pytest.approx([0.92 + moved - 0.01, 0.9], abs=1e-6)


@pytest.mark.parametrize("system", ["vanilla", "klass"])
def test_with_nothing_to_stand_still_for_it_is_the_threshold_a_step_late(system: str) -> None:
    settings: dict[str, Any] = {"unmask": "klass", "threshold": 0.3, "kl_threshold": 1e6, "kl_steps": 1, "early_stop": False}
    (end,) = finish(NumpyEngine(ENDLESS), [request(system, **settings)])
    counts = [sum(commit.positions.size for commit in step.commits) for step in end.trace]
    assert sum(counts) == 16
    assert max(counts) > 1
    second = next(index for index, step in enumerate(end.trace) if 13 in step.predicts[:1])
    assert counts[0] == 1
    assert (counts[second] > 1) == (system == "klass")
