from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dllm_edge.runtime.arrays import Array
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.unmasking.credit import Credit, Credits, fused
from dllm_edge.runtime.unmasking.proposals import Proposals
from dllm_edge.runtime.unmasking.rule import Budget, Decision
from dllm_edge.runtime.unmasking.unmasking import Unmasking

from ..numpy_engine import CONFIG, ENDLESS, MASK, SHIFTED, NumpyEngine
from ..recorder import finish
from ..scripted import proposals_of, request

CANVAS = Canvas([7, *[MASK] * 4], CONFIG)


def begun(**settings: Any) -> Credit:
    return Credit(Settings(unmask="credit", **settings), Budget(4, 4, 0, np.random.default_rng(0), Block(1, 5)))


def seen(ids: list[list[int]], probabilities: list[list[float]], positions: tuple[int, ...] | None = None) -> Proposals:
    log_probs = np.log(np.array(probabilities, dtype=np.float32))
    made = proposals_of([row[0] for row in probabilities])
    result = replace(made.result, topk_ids=np.array(ids), topk_log_probs=log_probs)
    at = made.positions if positions is None else np.array(positions)
    return replace(made, positions=at, ids=np.array(ids)[:, 0], result=result)


def decided(decision: Decision) -> tuple[list[int], list[int], list[float]]:
    assert decision.proposals is not None
    return decision.commit.tolist(), decision.proposals.ids.tolist(), decision.proposals.confidence.tolist()


def test_the_rule_by_hand() -> None:
    """Weight 1, power 1, decay 1/2: 11 gains .5, then keeps .25; 12 gains .5: p' is .45 x 1.25 and .5 x 1.5, of 1.36."""
    rule = begun(credit_weight=1.0, credit_power=1.0, credit_decay=0.5, threshold=0.7)
    commit, ids, (confidence,) = decided(rule.choose(seen([[11, 12]], [[0.5, 0.4]]), CANVAS, 0))
    assert (commit, ids) == ([0], [11])
    assert confidence == pytest.approx(0.75 / 1.25)
    commit, ids, (confidence,) = decided(rule.choose(seen([[12, 11]], [[0.5, 0.45]]), CANVAS, 1))
    assert ids == [12]
    assert confidence == pytest.approx(0.75 / (0.75 + 0.5625 + 0.05))


def test_credit_may_put_another_token_first() -> None:
    """11 has 1 + .8 and .2 more once it has been first twice; 12 was first now alone."""
    rule = begun(credit_weight=2.0, credit_power=0.0, credit_decay=0.8, threshold=0.9)
    for step in range(2):
        rule.choose(seen([[11, 12]], [[0.5, 0.4]]), CANVAS, step)
    _, ids, (confidence,) = decided(rule.choose(seen([[12, 11]], [[0.5, 0.45]]), CANVAS, 2))
    weights = {11: 0.45 * (1 + 1.44) ** 2, 12: 0.5 * 2**2}
    assert ids == [11]
    assert confidence == pytest.approx(weights[11] / (sum(weights.values()) + 0.05))


def test_credit_belongs_to_a_position() -> None:
    """The second was not seen in the first step: nothing was given to it, and what the first has decays all the same."""
    rule = begun(credit_weight=1.0, credit_power=0.0, credit_decay=0.5)
    rule.choose(seen([[11, 12]], [[0.5, 0.4]], (1,)), CANVAS, 0)
    rule.choose(seen([[11, 12]], [[0.5, 0.4]], (2,)), CANVAS, 1)
    _, _, confidence = decided(rule.choose(seen([[11, 12]] * 2, [[0.5, 0.4]] * 2, (1, 2)), CANVAS, 2))
    expected = [0.5 * (1 + credit) / (1 + 0.5 * credit) for credit in (1.25, 1.5)]
    assert confidence == pytest.approx(expected)


def test_what_is_no_candidate_any_more_is_left_out() -> None:
    rule = begun(credit_weight=1.0, credit_power=0.0, credit_decay=1.0)
    rule.choose(seen([[11, 12]], [[0.5, 0.4]]), CANVAS, 0)
    _, ids, (confidence,) = decided(rule.choose(seen([[13, 14]], [[0.5, 0.4]]), CANVAS, 1))
    assert ids == [13]
    assert confidence == pytest.approx(1.0 / 1.5)


def test_without_weight_it_is_the_threshold() -> None:
    rules: tuple[dict[str, Any], ...] = (
        {"unmask": "threshold"},
        {"unmask": "credit", "credit_weight": 0.0},
        {"unmask": "credit"},
    )
    for config, seed in ((ENDLESS, 0), (SHIFTED, 0), (ENDLESS, 3)):
        ends = [
            finish(NumpyEngine(config, seed), [request("fast-dllm-dual", config=config, early_stop=False, **rule)])[0]
            for rule in rules
        ]
        changes = [[(commit.positions.tolist(), commit.ids.tolist()) for commit in end.request.canvas.commits] for end in ends]
        assert changes[0] == changes[1] != changes[2]


def test_without_weight_log_probabilities_are_those_of_the_model() -> None:
    log_probs = -np.concatenate((10.0 ** np.linspace(-30, 1, 200), [0.0])).astype(np.float32)[:, None]
    found = fused(log_probs, np.zeros(log_probs.shape), np.zeros(201, dtype=np.int64))
    np.testing.assert_array_equal(found, log_probs[:, 0])


def test_confidences_near_1_are_told_apart() -> None:
    """A token that lacks 1e-9 of 1 and weighs 3 lacks a third of that."""
    log_probs = np.array([[-1e-9, np.log(1e-9)]], dtype=np.float32)
    (found,) = fused(log_probs, np.array([[np.log(3), 0.0]]), np.zeros(1, dtype=np.int64))
    assert found == pytest.approx(-1e-9 / 3, rel=1e-6)


def dense(vocabulary: int, steps: list[tuple[Array, Array, Array]]) -> Array:
    """Credit `[4, vocabulary]` after steps of rows, ids and gains, as an array over all ids."""
    amounts = np.zeros((4, vocabulary))
    for rows, ids, gains in steps:
        amounts *= 0.9
        amounts[rows, ids] += gains
    return amounts


def test_kept_by_position_it_is_what_an_array_over_all_ids_has() -> None:
    random, kept = np.random.default_rng(0), Credits(4)
    steps = []
    for _ in range(40):
        rows = np.sort(random.choice(4, random.integers(1, 5), replace=False))
        steps.append((rows, random.integers(0, 9, rows.size), random.random(rows.size)))
        kept.amounts *= 0.9
        kept.add(*steps[-1])
        ids = np.tile(np.arange(9), (4, 1))
        np.testing.assert_allclose(kept.of(np.arange(4), ids), dense(9, steps), atol=1e-12)
    assert kept.ids.shape == (4, 9)


def test_its_own_token_and_confidence_are_committed_and_traced() -> None:
    canvas = Canvas([7, MASK], CONFIG)
    settings = Settings(unmask="credit", threshold=0.99, credit_weight=2.0, credit_power=0.0, confidence="maskgit_plus")
    unmasking = Unmasking(canvas, settings, np.random.default_rng(0), traced=True)
    unmasked = unmasking.begin(Block(1, 2))
    proposals = seen([[11, 12]], [[0.5, 0.45]])
    rule = unmasked.rule
    assert isinstance(rule, Credit)
    rule.credits.add(np.array([0]), np.array([12]), np.array([1.0]))
    unmasked.commit(replace(proposals.result, step=canvas.step(canvas.whole, predict=Block(1, 2))))
    expected = {12: 0.45 * (1 + 0.8) ** 2, 11: 0.5 * 4}
    confidence = expected[11] / (sum(expected.values()) + 0.05)
    (commit,), (choice,) = canvas.commits, unmasking.take_choices()
    assert commit.ids.tolist() == [11]
    assert commit.confidences.tolist() == choice.scores.tolist() == pytest.approx([confidence])
    assert list(choice.gates) == [0.99]


def test_at_a_temperature_it_draws_from_what_credit_makes_of_the_candidates() -> None:
    rule = begun(temperature=1.0, credit_weight=2.0, credit_power=0.0, credit_decay=1.0, threshold=1.0)
    drawn = [decided(rule.choose(seen([[11, 12]] * 4, [[0.5, 0.5]] * 4), CANVAS, step))[1] for step in range(300)]
    shares = [np.mean(np.array(part) == 11) for part in (drawn[:3], drawn[-200:])]
    assert 0.5 < shares[0] < 1
    assert shares[1] > 0.99
