from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dllm_edge.graphs.contract import Profile
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.engines.base import Lanes, StepInputs, StepOutputs
from dllm_edge.runtime.unmasking.proposals import Proposals
from dllm_edge.runtime.unmasking.rule import Budget
from dllm_edge.runtime.unmasking.saber import Saber, taken_back

from ..numpy_engine import CONFIG, ENDLESS, MASK, NumpyEngine
from ..recorder import finish
from ..scripted import proposals_of, request

CANVAS = Canvas([7, *[MASK] * 6], CONFIG)


def begun(**settings: Any) -> Saber:
    return Saber(Settings(**settings), Budget(6, 6, 0, np.random.default_rng(0), Block(0, 6)))


def seen(confidence: list[float], standing: dict[int, float] | None = None) -> Proposals:
    """Proposals with these confidences; by index, how probable the token that stands there is."""
    made, standing = proposals_of(confidence), standing or {}
    current_ids, current = np.full(len(confidence), MASK), np.full((len(confidence), 1), -9.0, dtype=np.float32)
    for index, probability in standing.items():
        current_ids[index], current[index] = 7, np.log(probability)
    return replace(made, current_ids=current_ids, result=replace(made.result, target_log_probs=current))


def decided(rule: Saber, proposals: Proposals) -> tuple[list[int], list[int]]:
    decision = rule.choose(proposals, CANVAS, 0)
    return decision.commit.tolist(), decision.remask.tolist()


def test_the_paper() -> None:
    """Two first; then above the mean .85 of those, while what fell most returns; then above the mean of what stands."""
    rule = begun()
    assert decided(rule, seen([0.9, 0.8, 0.3, 0.2, 0.1, 0.1])) == ([0, 1], [])
    assert decided(rule, seen([0.1, 0.1, 0.86, 0.87, 0.84, 0.1], {0: 0.7, 1: 0.75})) == ([3, 2], [0])
    # Standing: 0.8, 0.86, 0.87; the first of them fell by 0.1 since a step ago, the others by 0.01 and not at all.
    assert decided(rule, seen([0.85, 0.1, 0.1, 0.1, 0.84, 0.1], {1: 0.65, 2: 0.85, 3: 0.87})) == ([0, 4], [1])
    assert list(rule.gates()) == pytest.approx([(0.8 + 0.86 + 0.87) / 3])


def test_the_least_probable() -> None:
    """As the first test, where 0 fell most: now 1, which fell less, is less probable."""
    rule = begun(backtrack="probability")
    assert decided(rule, seen([0.9, 0.7, 0.3, 0.2, 0.1, 0.1])) == ([0, 1], [])
    assert decided(rule, seen([0.1, 0.1, 0.86, 0.87, 0.8, 0.1], {0: 0.6, 1: 0.55}))[1] == [1]
    rule = begun()
    decided(rule, seen([0.9, 0.7, 0.3, 0.2, 0.1, 0.1]))
    assert decided(rule, seen([0.1, 0.1, 0.86, 0.87, 0.8, 0.1], {0: 0.6, 1: 0.55}))[1] == [0]


def test_the_released_code_for_llada() -> None:
    """A token of this step may return; what falls is the highest probability; all ever committed count, at their last time."""
    rule = begun(reference_compat=True)
    assert decided(rule, seen([0.9, 0.8, 0.3, 0.2, 0.1, 0.1])) == ([0, 1], [1])
    assert list(rule.gates()) == [1]
    assert decided(rule, seen([0.5, 0.86, 0.95, 0.2, 0.1, 0.1], {0: 0.99})) == ([2, 1], [0])
    assert list(rule.gates()) == pytest.approx([(0.9 + 0.8) / 2])
    decided(rule, seen([0.5, 0.6, 0.5, 0.5, 0.1, 0.1], {1: 0.9, 2: 0.9}))
    assert list(rule.gates()) == pytest.approx([(0.9 + 0.95 + 0.86) / 3])


def test_the_released_code_for_dream() -> None:
    """The token's own probability counts, and of each position its first confidence."""
    rule = begun(reference_compat=True, backtrack="probability")
    assert decided(rule, seen([0.9, 0.8, 0.3, 0.2, 0.1, 0.1])) == ([0, 1], [1])
    assert decided(rule, seen([0.1, 0.95, 0.86, 0.2, 0.1, 0.1], {0: 0.87})) == ([1, 2], [2])
    decided(rule, seen([0.1, 0.1, 0.86, 0.2, 0.1, 0.1], {0: 0.9, 1: 0.9}))
    assert list(rule.gates()) == pytest.approx([(0.9 + 0.8 + 0.86) / 3])


def test_the_step_that_completes_the_block_takes_nothing_back() -> None:
    for compat in (False, True):
        rule = begun(reference_compat=compat)
        decided(rule, seen([0.9, 0.8, 0.3]))
        assert decided(rule, seen([0.1, 0.1, 0.9], {0: 0.1, 1: 0.1})) == ([2], [])
        assert decided(begun(reference_compat=compat, least_commits=4), seen([0.2, 0.9])) == ([1, 0], [])


@pytest.mark.parametrize(
    ("drafted", "one_in", "least", "paper", "released"),
    [
        (1, 8, 2, 0, 0),
        (2, 8, 2, 1, 1),
        (9, 8, 2, 1, 2),
        (16, 8, 2, 2, 2),
        (16, 8, 10, 2, 5),
        (4, 1, 2, 3, 3),
        (5, 0, 10, 0, 0),
        (3, 8, 1, 1, 1),
    ],
)
def test_how_many_return(drafted: int, one_in: int, least: int, paper: int, released: int) -> None:
    assert taken_back(drafted, one_in, least) == paper
    assert taken_back(drafted, one_in, least, reference_compat=True) == released


def test_confidences_that_round_to_1_are_above_and_below_the_mean() -> None:
    """Of logarithms: the mean of 1e-9 and 3e-9 missed is 2e-9."""
    rule = begun(least_commits=2)
    first, second = seen([1.0] * 4), seen([1.0] * 4, {0: 1.0, 1: 1.0})
    rule.choose(replace(first, log_confidence=-np.array([1e-9, 3e-9, 1, 2], dtype=np.float32)), CANVAS, 0)
    rule.least = 1
    decision = rule.choose(replace(second, log_confidence=-np.array([1, 1, 1.9e-9, 2.1e-9], dtype=np.float32)), CANVAS, 1)
    assert decision.commit.tolist() == [2]


def test_as_sure_as_the_mean_is_not_surer() -> None:
    rule = begun(least_commits=1)
    assert decided(rule, seen([1.0, 0.5, 0.5, 0.5])) == ([0], [])
    assert decided(rule, seen([1.0, 1.0, 1.0, 0.5], {0: 1.0})) == ([1], [])


class Watched(NumpyEngine):
    """Notes the ids that are asked for by name, and those that are sent at the rows that predict."""

    def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
        given = self.inputs(profile)
        self.named: list[tuple[list[int], list[int]]] = [*getattr(self, "named", []), self._named(given)]
        return super().run(profile, cache, bind, keep_rows)

    def _named(self, given: StepInputs) -> tuple[list[int], list[int]]:
        return given.target_ids[0, :, 0].tolist(), given.input_ids[0, given.logit_rows[0]].tolist()


@pytest.mark.parametrize("system", ["vanilla", "fast-dllm-dual"])
def test_what_stands_is_asked_for_by_name(system: str) -> None:
    """Of every forward, without a word of the system's; and of other rules' nothing."""
    engine = Watched(ENDLESS)
    (end,) = finish(engine, [request(system, unmask="saber", early_stop=False)])
    assert any(step.to_json()["remasked"] for step in end.trace)
    assert all(named == sent for named, sent in engine.named)
    engine = Watched(ENDLESS)
    finish(engine, [request(system, unmask="quota", early_stop=False)])
    assert not any(any(named) for named, _ in engine.named)
