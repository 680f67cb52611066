"""Rules that look at positions, neighbours, the step's index and earlier steps; registered here alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from dllm_edge.runtime.arrays import FloatArray, IntArray
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import CHECKS, DECLARED, Setting, Settings, declare
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.unmasking import RULES
from dllm_edge.runtime.unmasking.proposals import Proposals
from dllm_edge.runtime.unmasking.rule import Budget, Decision, Rule, ranked, register

from ..numpy_engine import CONFIG, MASK
from ..scripted import proposals_of
from .runs import decoded

M = MASK
PENALTY = Setting("distance_penalty", 0.1, "Entropy that a position adds for each that lies between it and the first mask.")


class Stable(Rule):
    """KLASS' kin: candidates that are the same as a step ago; the most confident where there is none."""

    name, summary = "stable", ""

    def __init__(self, settings: Settings, budget: Budget) -> None:
        self.last: dict[int, int] = {}

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        current = dict(zip(proposals.positions.tolist(), proposals.ids.tolist(), strict=True))
        same = np.array([self.last.get(position) == token for position, token in current.items()]).nonzero()[0]
        self.last = current
        return Decision(same if same.size else ranked(proposals.confidence)[:1])


class Convolutional(Rule):
    """Convolutional decoding, deterministic: probability times tanh of how many tokens stand within two positions."""

    name, summary = "convolutional", ""

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        ahead = np.concatenate(([0], np.cumsum(canvas.tokens != canvas.mask_token_id)))
        first, last = np.maximum(proposals.positions - 2, 0), np.minimum(proposals.positions + 3, len(canvas))
        scores: FloatArray = (proposals.confidence * np.tanh(ahead[last] - ahead[first])).astype(np.float32)
        return Decision(ranked(scores)[: 1 + step % 2], scores=scores)


class Distance(Rule):
    """WeDLM: entropy and a penalty for the distance to the first mask below a bound, or the least."""

    name, summary, settings = "distance", "", (PENALTY,)

    def __init__(self, settings: Settings, budget: Budget) -> None:
        self.penalty = settings.distance_penalty

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        scores: FloatArray = proposals.entropy + np.float32(self.penalty) * (proposals.positions - proposals.positions[0])
        below = (scores < np.float32(0.4)).nonzero()[0]
        return Decision(below if below.size else ranked(-scores)[:1], scores=-scores)


ADDED: tuple[type[Rule], ...] = (Stable, Convolutional, Distance)


@pytest.fixture(autouse=True)
def added() -> Iterator[None]:
    rules, declared, checks = dict(RULES), dict(DECLARED), list(CHECKS)
    declare(PENALTY)
    for rule in ADDED:
        register(rule)
    yield
    for registry, before in ((RULES, rules), (DECLARED, declared)):
        registry.clear()
        registry.update(before)  # type: ignore[arg-type]
    CHECKS[:] = checks


def begun(rule: type[Rule], **settings: float) -> Rule:
    return rule(Settings(**settings), Budget(4, 4, 0, np.random.default_rng(0), Block(1, 5)))


def proposals(confidence: list[float], masked: str = "MMMM", ids: IntArray | None = None) -> Proposals:
    """Of the positions from 1 on; where `masked` has a dot, a token stands."""
    made = proposals_of(confidence)
    current_ids = np.array([M if sign == "M" else 7 for sign in masked])
    return replace(made, current_ids=current_ids, ids=made.ids if ids is None else ids)


def with_entropy(entropy: list[float]) -> Proposals:
    made = proposals_of([0.5] * len(entropy))
    return replace(made, result=replace(made.result, entropy=np.array(entropy, dtype=np.float32)))


CANVAS = Canvas([7, M, M, M, M], CONFIG)


def test_stable_commits_what_is_proposed_twice() -> None:
    rule = begun(Stable)
    rounds = [np.array(ids) for ids in ([1, 2, 3, 4], [1, 9, 3, 8], [1, 2, 3, 4])]
    chosen = [rule.choose(proposals([0.2, 0.3, 0.9, 0.5], ids=ids), CANVAS, step).commit for step, ids in enumerate(rounds)]
    assert [one.tolist() for one in chosen] == [[2], [0, 2], [0, 2]]


def test_convolutional_weighs_by_the_tokens_around() -> None:
    """Within two positions there is one token for the first two, and none for the others."""
    decision = begun(Convolutional).choose(proposals([0.2, 0.3, 0.9, 0.99]), CANVAS, 1)
    assert decision.scores is not None
    np.testing.assert_allclose(decision.scores, [0.2 * np.tanh(1), 0.3 * np.tanh(1), 0, 0], rtol=1e-6)
    assert decision.commit.tolist() == [1, 0]
    assert begun(Convolutional).choose(proposals([0.2, 0.3, 0.9, 0.99]), CANVAS, 0).commit.tolist() == [1]


@pytest.mark.parametrize(
    ("entropy", "penalty", "expected"),
    [
        ([0.5, 0.1, 0.35], 0.1, [1]),
        ([0.5, 0.1, 0.35], 0.0, [1, 2]),
        ([0.5, 0.5, 0.45], 0.1, [0]),
        ([0.39, 0.35, 0.25], 0.1, [0]),
        ([0.39, 0.35, 0.15], 0.1, [0, 2]),
    ],
)
def test_distance_to_the_first_mask_counts(entropy: list[float], penalty: float, expected: list[int]) -> None:
    decision = begun(Distance, distance_penalty=penalty).choose(with_entropy(entropy), CANVAS, 0)
    assert decision.commit.tolist() == expected


@pytest.mark.parametrize("name", [rule.name for rule in ADDED])
@pytest.mark.parametrize("system", ["vanilla", "fast-dllm-dual"])
def test_whole_decodes_end(name: str, system: str) -> None:
    """By systems that know nothing of these rules, alone and in a batch."""
    for each, end in decoded(system, unmask=name):
        assert MASK not in each.canvas.tokens
        assert (end.reason, end.forwards <= 16) == ("complete", True)


def test_scores_of_a_rule_are_in_the_trace() -> None:
    (_, end), *_ = decoded("vanilla", unmask="convolutional")
    for step in end.trace:
        (choice,), committed = step.choices, [position for commit in step.commits for position in commit.positions.tolist()]
        best = choice.positions[ranked(choice.scores)[: len(committed)]]
        assert sorted(best.tolist()) == committed
