from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.step import StepResult
from dllm_edge.runtime.scheduler.request import Finished
from dllm_edge.runtime.systems.base import Decoding

from ..runtime.numpy_engine import ENDLESS, MASK, NumpyEngine
from ..runtime.recorder import finish
from ..runtime.scripted import request, scripted
from .cases import Case, Changes
from .comparison import difference, hold, hold_documented

PROMPT = [1, 7, 2]
# Two tokens; one of them back to the mask and a third that does not stay; both.
CHANGES: list[Changes] = [{3: 10, 4: 11}, {3: MASK}, {3: 12, 5: 13}]


def decode(canvas: Canvas) -> Decoding:
    for committed, taken_back in (((3, 10), (4, 11)), ()), (((5, 9),), (3, 5)), (((3, 12), (5, 13)), ()):
        result: StepResult = yield canvas.step(canvas.whole)
        assert result.step.kind == "full"
        positions, ids = np.array(committed).T
        canvas.commit(positions, ids, np.ones(len(ids), dtype=np.float32))
        if taken_back:
            canvas.remask(np.array(taken_back))


@pytest.fixture
def end() -> Finished:
    return finish(NumpyEngine(), [request(scripted(decode), PROMPT, ENDLESS, gen_length=3, block_length=0)])[0]


@pytest.fixture
def case() -> Case:
    return Case("paper", 7, "none", "generate", PROMPT, {}, [*PROMPT, 12, 11, 13], 3, [dict(one) for one in CHANGES], None)


def digest(steps: list[list[list[int]]]) -> str:
    return hashlib.sha256(json.dumps(steps, separators=(",", ":")).encode()).hexdigest()


def test_equal(case: Case, end: Finished) -> None:
    assert difference(case, end) is None
    unknown: list[Changes] = [{3: None, 4: None}, {3: None}, {3: None, 5: None}]
    assert difference(replace(case, changes=unknown), end) is None


@pytest.mark.parametrize(
    ("forward", "position", "token", "message"),
    [
        (0, 4, 12, "paper-7: forward 0 changed 3:=10, 4:=11 here, 3:=10, 4:=12 in the released code"),
        (1, 5, None, f"paper-7: forward 1 changed 3:={MASK} here, 3:={MASK}, 5 in the released code"),
        (3, 3, 1, "paper-7: forward 3 changed nothing, for there was none here, 3:=1 in the released code"),
    ],
)
def test_the_first_forward_that_differs_is_named(
    forward: int, position: int, token: int | None, message: str, case: Case, end: Finished
) -> None:
    changes = [dict(one) for one in [*CHANGES, {}]][: max(3, forward + 1)]
    changes[forward][position] = token
    assert difference(replace(case, changes=changes), end) == message


def test_forwards_and_final_ids(case: Case, end: Finished) -> None:
    assert difference(replace(case, forwards=4), end) == "paper-7: 3 forwards here, 4 in the released code"
    other = replace(case, ids=[*PROMPT, 12, 11, 14])
    assert difference(other, end) == "paper-7: position 5 is 13 in the end here, 14 in the released code"
    shorter = replace(case, ids=[*PROMPT, 12, 11])
    assert difference(shorter, end) == "paper-7: position 5 is 13 in the end here, None in the released code"


def test_a_log_that_was_cut_is_compared_by_its_hash(case: Case, end: Finished) -> None:
    steps = [[[3, 4], [10, 11]], [[3], [MASK]], [[3, 5], [12, 13]]]
    cut = replace(case, changes=case.changes[:2], steps_sha256=digest(steps))
    assert difference(cut, end) is None
    steps[2] = [[3, 5], [13, 12]]
    assert "a forward after the 2 that are logged" in (difference(replace(cut, steps_sha256=digest(steps)), end) or "")


def test_departures_must_depart(case: Case, end: Finished) -> None:
    hold(case, end, {8: "another"})
    with pytest.raises(AssertionError, match="paper-7 is equal, so it is no departure: ties"):
        hold(case, end, {7: "ties"})
    with pytest.raises(AssertionError, match="paper-7: 3 forwards here, 2 in the released code"):
        hold(replace(case, forwards=2), end, {})
    hold(replace(case, forwards=2), end, {7: "ties"})


def test_departures_must_be_documented() -> None:
    with pytest.raises(AssertionError, match=r"no line begins with '\| Fast-dLLM\+\+ \| 95 of 96 \|'"):
        hold_documented("fastdllm_plusplus", {1: "not so"})
