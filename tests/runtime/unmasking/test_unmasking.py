from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.step import Step, StepResult
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.unmasking.unmasking import BlockUnmasking, Unmasking

from ..numpy_engine import CONFIG, END, MASK, SHIFTED

TWO = Settings(gen_length=4, block_length=4, unmask="threshold", threshold=0.6)


def answer(step: Step, ids: list[int], probabilities: list[float]) -> StepResult:
    """A result in which row r's best candidate is `ids[r]` with `probabilities[r]`."""
    log_probs = np.log(np.array(probabilities, dtype=np.float32))
    return StepResult(
        step,
        topk_ids=np.array([[token, 40] for token in ids]),
        topk_log_probs=np.stack((log_probs, log_probs - 5), 1),
        entropy=np.zeros(len(ids), dtype=np.float32),
        target_log_probs=np.zeros((len(ids), 1), dtype=np.float32),
    )


def started(
    tokens: list[int], config: ModelConfig = CONFIG, settings: Settings = TWO, first_alone: bool = False
) -> tuple[Canvas, BlockUnmasking, Block]:
    canvas = Canvas(tokens, config)
    block = Block(canvas.start, canvas.stop)
    return canvas, Unmasking(canvas, settings, np.random.default_rng(0)).begin(block, first_alone), block


def test_commits_what_the_rule_chooses() -> None:
    canvas, rule, block = started([7, MASK, MASK, MASK, MASK])
    rule.commit(answer(canvas.step(canvas.whole, predict=block), [11, 12, 13, 14], [0.7, 0.2, 0.9, 0.5]))
    assert canvas.tokens.tolist() == [7, 11, MASK, 13, MASK]
    assert canvas.commits[0].positions.tolist() == [1, 3]
    np.testing.assert_allclose(canvas.commits[0].confidences, [0.7, 0.9], rtol=1e-6)
    assert rule.pending
    rule.commit(answer(canvas.step(canvas.whole, predict=block), [1, 12, 1, 14], [0.99, 0.2, 0.99, 0.3]))
    assert canvas.tokens.tolist() == [7, 11, MASK, 13, 14]


@pytest.mark.parametrize(
    "settings",
    [
        {"unmask": "quota", "steps": 4},
        {"unmask": "schedule", "steps": 2},
        {"unmask": "threshold", "threshold": 1.01},
    ],
)
def test_the_most_certain_goes_first_of_those_that_round_to_1(settings: dict[str, Any]) -> None:
    canvas, rule, block = started([7, *[MASK] * 4], settings=TWO.replace(**settings))
    result = answer(canvas.step(canvas.whole, predict=block), [11, 12, 13, 14], [1.0] * 4)
    rule.commit(replace(result, topk_log_probs=-np.array([[4e-9, 20], [3e-9, 20], [1e-9, 20], [2e-9, 20]], dtype=np.float32)))
    assert canvas.tokens.tolist()[3] == 13
    assert canvas.tokens.tolist()[1] == MASK


@pytest.mark.parametrize(
    ("changes", "gates"),
    [
        ({"unmask": "quota"}, []),
        ({"unmask": "threshold", "threshold": 0.6}, [0.6]),
        ({"unmask": "factor", "factor": 1.2}, [1 - 1.2 / 2, 1 - 1.2 / 3, 1 - 1.2 / 4]),
    ],
)
def test_a_trace_has_what_the_rule_chose_by(changes: dict[str, Any], gates: list[float]) -> None:
    """What the trajectory level of `validate` tells rounding from error by: scores, and the rule's own gates."""
    canvas = Canvas([7, MASK, 8, MASK, MASK], CONFIG)
    block = Block(canvas.start, canvas.stop)
    unmasking = Unmasking(canvas, TWO.replace(**changes), np.random.default_rng(0), traced=True)
    unmasking.begin(block).commit(answer(canvas.step(canvas.whole, predict=block), [11, 9, 12, 13], [0.7, 0.9, 0.5, 0.2]))
    (choice,) = unmasking.take_choices()
    assert choice.positions.tolist() == [1, 3, 4]
    np.testing.assert_allclose(choice.scores, [0.7, 0.5, 0.2], rtol=1e-6)
    assert list(choice.gates) == pytest.approx(gates)
    assert unmasking.take_choices() == []


def test_given_tokens_are_no_candidates() -> None:
    canvas, rule, block = started([7, MASK, 8, MASK, 9])
    proposals = rule.propose(answer(canvas.step(canvas.whole, predict=block), [11, 12, 13], [0.7, 0.9, 0.8]))
    assert (proposals.positions.tolist(), proposals.ids.tolist()) == ([1, 3], [11, 13])


def test_the_first_goes_alone_whatever_its_confidence() -> None:
    canvas, rule, block = started([7, MASK, MASK, MASK], SHIFTED, first_alone=True)
    rule.commit(answer(canvas.step(canvas.whole, predict=block), [11, 12, 13], [0.1, 0.9, 0.9]))
    assert canvas.tokens.tolist() == [7, 11, MASK, MASK]
    rule.commit(answer(canvas.step(canvas.whole, predict=block), [11, 12, 13], [0.1, 0.9, 0.9]))
    assert canvas.tokens.tolist() == [7, 11, 12, 13]


def test_the_first_that_went_alone_is_out_of_the_rules_hands() -> None:
    """One that looks at committed tokens, too: later steps of a cached system predict the others alone."""
    canvas, rule, block = started(
        [7, MASK, MASK, MASK], SHIFTED, TWO.replace(unmask="saber", least_commits=1), first_alone=True
    )
    assert rule.propose(answer(canvas.step(canvas.whole, predict=block), [11, 12, 13], [0.1, 0.9, 0.9])).positions.size == 3
    rule.commit(answer(canvas.step(canvas.whole, predict=block), [11, 12, 13], [0.1, 0.9, 0.9]))
    proposals = rule.propose(answer(canvas.step(canvas.whole, predict=block), [11, 12, 13], [0.1, 0.9, 0.9]))
    assert proposals.positions.tolist() == [2, 3]
    assert proposals.current_ids.tolist() == [MASK, MASK]


def test_a_trace_has_what_the_rule_took_back_by() -> None:
    canvas = Canvas([7, *[MASK] * 4], CONFIG)
    settings = TWO.replace(unmask="saber", backtrack="probability")
    unmasking = Unmasking(canvas, settings, np.random.default_rng(0), traced=True)
    rule = unmasking.begin(Block(1, 5))
    result = answer(canvas.step(canvas.whole, predict=canvas.whole), [1, 11, 12, 13, 14], [0.9, 0.9, 0.2, 0.8, 0.3])
    rule.commit(result)
    assert [choice.positions.tolist() for choice in unmasking.take_choices()] == [[1, 2, 3, 4], []]
    rule.commit(replace(result, target_log_probs=np.log(np.array([[1], [0.7], [0.1], [0.6], [0.1]], dtype=np.float32))))
    order, backtrack = unmasking.take_choices()
    assert list(order.gates) == pytest.approx([0.85])
    assert (backtrack.positions.tolist(), list(backtrack.gates)) == ([1, 3], [])
    np.testing.assert_allclose(backtrack.scores, [0.3, 0.4], rtol=1e-6)


def test_the_first_goes_alone_only_where_it_is_masked() -> None:
    """A block may begin with a given token: then every later row predicts what is masked."""
    canvas = Canvas([7, MASK, 8, MASK, MASK], SHIFTED)
    block = Block(2, 5)
    rule = Unmasking(canvas, TWO, np.random.default_rng(0)).begin(block, first_alone=True)
    rule.commit(answer(canvas.step(canvas.whole, predict=block), [1, 11, 12], [0.1, 0.9, 0.9]))
    assert canvas.tokens.tolist() == [7, MASK, 8, 11, 12]


def test_a_pause_of_the_schedule_commits_nothing() -> None:
    canvas, rule, block = started([7, *[MASK] * 4], settings=TWO.replace(unmask="schedule"))
    rule.commit(answer(canvas.step(canvas.whole, predict=block), [11, 12, 13, 14], [0.9] * 4))
    assert (canvas.commits, rule.pending) == ([], True)


def test_rows_are_found_by_the_positions_that_they_predict() -> None:
    """A step may predict more than the block, or only a part of it."""
    canvas, rule, block = started([7, MASK, MASK, MASK, MASK])
    wide = answer(canvas.step(canvas.whole, predict=Block(0, 5)), [10, 11, 12, 13, 14], [0.9, 0.7, 0.2, 0.9, 0.5])
    assert rule.propose(wide).ids.tolist() == [11, 12, 13, 14]
    narrow = answer(canvas.step(canvas.whole, predict=Block(2, 4)), [12, 13], [0.2, 0.9])
    assert (rule.propose(narrow).positions.tolist(), rule.propose(narrow).ids.tolist()) == ([2, 3], [12, 13])
    assert block == Block(1, 5)


def test_stops_at_an_end_of_text_that_nothing_masked_precedes() -> None:
    for early_stop in (True, False):
        canvas, rule, block = started([7, *[MASK] * 3], settings=TWO.replace(early_stop=early_stop))
        rule.commit(answer(canvas.step(canvas.whole, predict=block), [11, END, 13], [0.1, 0.9, 0.2]))
        assert (rule.unmasking.stopped, rule.pending) == (False, True)
        rule.commit(answer(canvas.step(canvas.whole, predict=block), [11, END, 13], [0.9, 0.9, 0.2]))
        assert (rule.unmasking.stopped, rule.pending) == (early_stop, not early_stop)
