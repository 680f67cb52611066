from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.unmasking.conv import Conv, decided_nearby
from dllm_edge.runtime.unmasking.proposals import Proposals
from dllm_edge.runtime.unmasking.rule import Budget, Decision

from ..numpy_engine import CONFIG, ENDLESS, MASK, NumpyEngine
from ..recorder import finish
from ..scripted import PROMPTS, proposals_of, request

CANVAS = Canvas([7, *[MASK] * 6], CONFIG)


def begun(masks: int = 6, steps: int = 6, seed: int = 0, **settings: Any) -> Conv:
    random = np.random.default_rng(seed)
    return Conv(Settings(unmask="conv", **settings), Budget(masks, steps, 0, random, Block(1, 1 + masks)))


def drawn_from(probabilities: list[list[float]]) -> Proposals:
    """Proposals for the positions from 1 on, whose candidates 10, 11, ... have these probabilities."""
    made, log_probs = proposals_of([row[0] for row in probabilities]), np.log(np.array(probabilities, dtype=np.float32))
    ids = np.broadcast_to(np.arange(10, 10 + log_probs.shape[1]), log_probs.shape)
    return replace(made, result=replace(made.result, topk_ids=ids, topk_log_probs=log_probs))


@pytest.mark.parametrize(
    ("decided", "window", "counts"),
    [
        ("x-----", 3, [1, 1, 0, 0, 0, 0]),
        ("x-----", 4, [1, 1, 1, 0, 0, 0]),
        ("x-----", 1, [1, 0, 0, 0, 0, 0]),
        ("x--x-x", 5, [1, 2, 2, 2, 2, 2]),
        ("xx--xx", 128, [4] * 6),
        ("------", 3, [0] * 6),
    ],
)
def test_what_is_decided_nearby(decided: str, window: int, counts: list[int]) -> None:
    """Even windows reach as far as the next odd one."""
    assert decided_nearby(np.array(list(decided)) == "x", window).tolist() == counts


def test_confidence_times_weight() -> None:
    """With a window of 5 the masks at 1 and 2 see the prompt's one token; farther ones score 0, and the earlier go first."""
    rule = begun(steps=2, conv_window=5, conv_mult=0.5)
    proposals = proposals_of([0.2, 0.3, 0.9, 0.99, 0.8, 0.7])
    decision = rule.choose(proposals, CANVAS, 0)
    assert decision.commit.tolist() == [1, 0, 2]
    assert decision.scores is not None
    assert decision.scores == pytest.approx([0.2 * math.tanh(0.5), 0.3 * math.tanh(0.5), 0, 0, 0, 0])
    assert decision.proposals is None
    assert list(rule.gates()) == []


def test_weights_grow_with_what_is_decided() -> None:
    canvas = Canvas([7, 8, MASK, MASK, MASK, 9, MASK], CONFIG)
    proposals = replace(proposals_of([0.5] * 4), positions=np.array([2, 3, 4, 6]))
    scores = begun(conv_window=5, conv_mult=0.1).choose(proposals, canvas, 0).scores
    assert scores == pytest.approx([0.5 * math.tanh(0.1 * near) for near in (2, 2, 1, 1)])


def test_where_all_weigh_the_same_it_is_the_quota() -> None:
    """A factor so large that one token is as good as all, and a window that sees one everywhere."""
    ends = {}
    for unmask in ("conv", "quota"):
        asked = request("vanilla", steps=8, unmask=unmask, early_stop=False, conv_mult=100.0)
        finish(NumpyEngine(ENDLESS), [asked])
        ends[unmask] = [commit.positions.tolist() for commit in asked.canvas.commits], asked.canvas.tokens.tolist()
    assert ends["conv"] == ends["quota"]


def noisy(odds: list[list[float]], seed: int) -> list[list[float]]:
    random = np.random.default_rng(seed)
    return [[math.log(one) + random.gumbel() for one in row] for row in odds]


@pytest.mark.parametrize("seed", range(4))
def test_the_ancestral_update_by_hand(seed: int) -> None:
    """Step 1 of 4, two candidates: times 0.7500025 and 0.500005; two and three decided tokens nearby."""
    rows, weights = [[0.5, 0.3, 0.1], [0.4, 0.2, 0.2]], [math.tanh(0.2), math.tanh(0.3)]
    until, passed = 0.500005, 0.2499975
    canvas = Canvas([7, MASK, MASK, 9, 9, 9], CONFIG)
    decision = begun(2, 4, seed, conv_top_k=2, conv_mult=0.1, conv_window=4).choose(drawn_from(rows), canvas, 1)
    z = 2 / (0.9 * weights[0] + 0.8 * weights[1])
    odds = [[p * w * z * passed for p in row[:2]] + [until] for row, w in zip(rows, weights, strict=True)]
    expected = noisy(odds, seed)
    best = [max(row[:2]) for row in expected]
    assert decision.commit.tolist() == [index for index, row in enumerate(expected) if best[index] > row[2]]
    assert decision.proposals is not None
    assert decision.proposals.ids.tolist() == [10 + row.index(max(row[:2])) for row in expected]
    assert decision.scores == pytest.approx([1 / (1 + math.exp(row[2] - top)) for row, top in zip(expected, best, strict=True)])


def test_a_step_decides_its_share_on_average() -> None:
    """From t to s, (t - s) / t of the masks: the second of four steps a third of them."""
    canvas, rows = Canvas([7, *[MASK] * 60], CONFIG), [[0.7, 0.0001, 0.0001]] * 60
    counts = [begun(60, 4, seed, conv_top_k=2).choose(drawn_from(rows), canvas, 1).commit.size for seed in range(40)]
    assert np.mean(counts) == pytest.approx(60 / 3, rel=0.08)


def test_the_last_step_decides_all_that_is_left() -> None:
    """Out of reach of all tokens, too, where it takes the best candidate."""
    canvas, rows = Canvas([7, *[MASK] * 6], CONFIG), [[0.6, 0.3]] * 6
    rule = begun(6, 3, conv_top_k=1, conv_window=3)
    assert set(rule.choose(drawn_from(rows), canvas, 1).commit.tolist()) <= {0}
    last: Decision = rule.choose(drawn_from(rows), canvas, 2)
    assert last.commit.tolist() == list(range(6))
    assert last.proposals is not None
    assert last.proposals.ids.tolist() == last.proposals.topk_ids[:, 0].tolist()
    assert list(rule.gates()) == [0.5]


def test_without_anything_decided_all_masks_weigh_the_same() -> None:
    canvas = Canvas([MASK] * 40, CONFIG)
    proposals = replace(drawn_from([[0.6, 0.3]] * 39), positions=np.arange(39))
    counts = [begun(39, 2, seed, conv_top_k=1).choose(proposals, canvas, 0).commit.size for seed in range(20)]
    assert np.mean(counts) == pytest.approx(39 * 0.5 * 0.6 / 0.9 / (0.5 * 0.6 / 0.9 + 0.5), rel=0.15)
    assert begun(39, 13).choose(proposals, canvas, 0).commit.tolist() == [0, 1, 2]


def test_what_is_drawn_is_committed_with_its_own_probability() -> None:
    """Other than the best candidate now and then; the same again by the same seed."""
    results = []
    for seed in (1, 1, 2):
        asked = request("conv", PROMPTS[0], seed=seed, unmask="conv", conv_top_k=8, steps=4, block_length=0, early_stop=False)
        (end,) = finish(NumpyEngine(ENDLESS), [asked])
        results.append(asked.canvas.tokens.tolist())
    assert results[0] == results[1] != results[2]
    others = 0
    for step in end.trace:
        best = dict(
            zip(step.predicts.tolist(), zip(step.best_ids.tolist(), step.probabilities.tolist(), strict=True), strict=True)
        )
        for commit in step.commits:
            for position, token, confidence in zip(commit.positions, commit.ids, commit.confidences, strict=True):
                top, probability = best[int(position)]
                others += top != token
                assert (confidence == pytest.approx(probability)) if top == token else confidence < probability
    assert others
