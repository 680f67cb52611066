"""Tokens that return to the mask, or change: events and traces that rebuild the canvas, and loops that end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from dllm_edge.runtime.arrays import IntArray
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.changes import Change, Commit, Edit, Remask
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.scheduler.request import Changed, Request
from dllm_edge.runtime.scheduler.scheduler import Scheduler
from dllm_edge.runtime.systems.base import Decode, Decoding
from dllm_edge.runtime.unmasking import RULES
from dllm_edge.runtime.unmasking.proposals import Proposals
from dllm_edge.runtime.unmasking.rule import Budget, Decision, Rule, ranked, register
from dllm_edge.runtime.unmasking.unmasking import Unmasking

from ..numpy_engine import MASK, NumpyEngine
from ..scripted import PROMPTS, request
from .runs import decoded, run, system


class Restless(Rule):
    """Takes back whatever it commits."""

    name, summary = "restless", ""

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        return Decision(ranked(proposals.confidence)[:1], remask=ranked(proposals.confidence)[:1])


class Editing(Rule):
    """LLaDA2.1: masks above one confidence, or the best; and every token that another above a second one stands for."""

    name, summary, looks_at = "editing", "", "all"

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        masked = proposals.current_ids == canvas.mask_token_id
        left = masked.nonzero()[0]
        confident = left[proposals.confidence[left] > 0.6]
        other = ~masked & (canvas.tokens[proposals.positions] != proposals.ids) & (proposals.confidence > 0.3)
        return Decision(confident if confident.size else left[ranked(proposals.confidence[left])[:1]], edit=other.nonzero()[0])


def edited(most: int) -> Decode:
    """When no mask is left, up to `most` more forwards of the block, until one changes nothing."""

    def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        for block in canvas.blocks(settings.block):
            rule, after = unmasking.begin(block, rule=Editing(settings, Budget(0, 0, 0, unmasking.random, block))), 0
            while rule.pending or after < most:
                after += rule.complete
                before = len(canvas.changes)
                rule.commit((yield canvas.step(canvas.whole, predict=block)))
                if rule.complete and len(canvas.changes) == before:
                    break

    return decode


@pytest.fixture(autouse=True)
def added() -> Iterator[None]:
    register(Restless)
    yield
    del RULES["restless"]


def rebuilt(tokens: IntArray, changes: list[Change]) -> list[int]:
    for change in changes:
        tokens = change.applied_to(tokens, MASK)
    return [int(token) for token in tokens]


def together(asked: list[Request]) -> list[tuple[list[int], list[int]]]:
    """The canvases at the beginning with the events of a batch applied in order, and the canvases at the end."""
    begun = {id(each): np.array([*each.canvas.tokens]) for each in asked}
    events = [event for event in Scheduler(NumpyEngine()).run(asked) if isinstance(event, Changed)]
    changes = {key: [event.change for event in events if id(event.request) == key] for key in begun}
    return [(rebuilt(begun[id(each)], changes[id(each)]), each.canvas.tokens.tolist()) for each in asked]


def test_edits_are_events_in_order_and_lines_of_the_trace() -> None:
    for applied, tokens in together([request(system(edited(16)), prompt) for prompt in PROMPTS]):
        assert applied == tokens
    for each, end in decoded(edited(16)):
        assert MASK not in each.canvas.tokens
        edits = [change for change in each.canvas.changes if isinstance(change, Edit)]
        assert edits
        assert all((edit.ids != edit.previous_ids).all() for edit in edits)
        assert end.forwards <= 2 * (8 + 16)
        written = [json.loads(json.dumps(step.to_json())) for step in end.trace]
        assert [line for step in written for line in step["edited"]] == [edit.to_json() for edit in edits]


def test_editing_stops_after_so_many_forwards() -> None:
    """Of blocks of eight: as many forwards without a mask as are allowed, at most."""
    for most in (0, 1):
        for each, end in decoded(edited(most)):
            committing = sum(bool(step.commits) for step in end.trace)
            assert committing <= end.forwards <= committing + 2 * most
            assert MASK not in each.canvas.tokens


@pytest.mark.parametrize(
    ("settings", "forwards"),
    [({}, 8 * 16 + 64), ({"steps": 4}, 8 * (16 + 4) + 64), ({"max_steps": 7}, 7), ({"gen_length": 3}, 8 * 3 + 64)],
)
@pytest.mark.parametrize("name", ["vanilla", "fast-dllm-dual"])
def test_a_rule_that_takes_everything_back_comes_to_the_limit(name: str, settings: dict[str, Any], forwards: int) -> None:
    asked = [request(name, prompt, unmask="restless", **settings) for prompt in PROMPTS]
    for each, end in zip(asked, run(NumpyEngine(), asked), strict=True):
        assert (end.reason, end.forwards) == ("step_limit", forwards)
        assert each.canvas.masked(each.canvas.whole).size == each.settings.gen_length
        assert [type(change) for change in end.trace[-1].changes] == [Commit, Remask]
        (line,) = end.trace[-1].to_json()["remasked"]
        assert line == {
            "positions": end.trace[-1].commits[0].positions.tolist(),
            "previous_ids": end.trace[-1].commits[0].ids.tolist(),
        }


def test_what_is_written_before_the_first_forward_is_an_event_too() -> None:
    """A goal at the end of the canvas, towards which the text then grows."""

    def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        goal = np.arange(len(canvas) - 3, len(canvas))
        canvas.commit(goal, np.array([9, 8, 7]), np.ones(3, dtype=np.float32))
        for block, rule in unmasking.blocks():
            while rule.pending:
                rule.commit((yield canvas.step(canvas.whole, predict=block)))

    for applied, tokens in together([request(system(decode), prompt) for prompt in PROMPTS]):
        assert applied == tokens
        assert tokens[-3:] == [9, 8, 7]
    for each, end in decoded(decode):
        assert [change for step in end.trace for change in step.changes] == each.canvas.changes
        assert end.trace[0].commits[0].ids.tolist() == [9, 8, 7]


def test_what_is_written_without_any_forward_is_an_event_too() -> None:
    def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        masks = canvas.masked(canvas.whole)
        canvas.commit(masks, masks % 4, np.ones(masks.size, dtype=np.float32))
        yield from ()

    for applied, tokens in together([request(system(decode), prompt) for prompt in PROMPTS]):
        assert applied == tokens
        assert MASK not in tokens


def test_a_change_names_each_position_once() -> None:
    canvas = request("vanilla").canvas
    twice, ones = np.array([6, 6]), np.ones(2, dtype=np.float32)
    with pytest.raises(AssertionError, match="once"):
        canvas.commit(twice, np.array([1, 2]), ones)
    canvas.commit(np.array([6]), np.array([1]), ones[:1])
    with pytest.raises(AssertionError, match="once"):
        canvas.edit(twice, np.array([1, 2]), ones)
    with pytest.raises(AssertionError, match="once"):
        canvas.remask(twice)


def test_a_quota_goes_on_where_tokens_returned_to_the_mask() -> None:
    """The system takes one token back that the rule's quotas have no step for."""

    def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        for block, rule in unmasking.blocks():
            while rule.pending:
                rule.commit((yield canvas.step(canvas.whole, predict=block)))
                if rule.step == 2:
                    canvas.remask(canvas.commits[-1].positions[:1])

    for each, end in decoded(decode, steps=4):
        assert MASK not in each.canvas.tokens
        assert end.forwards == 2 * 3
