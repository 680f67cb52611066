from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.systems.conv import fill_after_second_end

from ..numpy_engine import CONFIG, END, ENDLESS, MASK, NumpyEngine
from ..recorder import finish
from ..scripted import request

OTHER = 17


def canvas_of(tokens: list[int], given: int = 1) -> Canvas:
    """A canvas with `given` tokens that were there from the start, and the others decided, but for masks."""
    canvas = Canvas([7] * given + [MASK] * len(tokens), replace(CONFIG, eos_token_ids=(END, OTHER)))
    decided = np.array([index for index, token in enumerate(tokens) if token != MASK], dtype=np.int64)
    if decided.size:
        canvas.commit(decided + given, np.array(tokens)[decided], np.ones(decided.size, dtype=np.float32))
    return canvas


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([MASK, END, 8, MASK], [MASK, END, 8, MASK]),
        ([MASK, END, 8, END, MASK, 9, MASK], [MASK, END, 8, END, END, END, END]),
        ([END, MASK, OTHER, OTHER, 9, MASK], [END, MASK, OTHER, OTHER, END, END]),
        ([8, MASK, END, END], [8, MASK, END, END]),
        ([MASK] * 3, [MASK] * 3),
    ],
)
def test_what_follows_the_second_end(before: list[int], after: list[int]) -> None:
    """The first stays, and what lies between; of several ends of text each counts, and what is one already stays."""
    canvas = canvas_of(before)
    fill_after_second_end(canvas)
    assert canvas.tokens[1:].tolist() == after
    changes = len(canvas.changes)
    fill_after_second_end(canvas)
    assert len(canvas.changes) == changes


def test_given_tokens_are_no_ends_and_stay() -> None:
    canvas = Canvas([END, END, MASK, 8, MASK, MASK], CONFIG)
    fill_after_second_end(canvas)
    assert canvas.tokens.tolist() == [END, END, MASK, 8, MASK, MASK]
    canvas = Canvas([7, MASK, MASK, 8, MASK], CONFIG)
    canvas.commit(np.array([1, 2]), np.array([END, END]), np.ones(2, dtype=np.float32))
    fill_after_second_end(canvas)
    assert canvas.tokens.tolist() == [7, END, END, 8, END]


def test_it_is_the_rule_in_one_block_without_a_cache() -> None:
    asked = [request(system, unmask="conv", block_length=0, early_stop=False, steps=4) for system in ("conv", "vanilla")]
    ends = [finish(NumpyEngine(ENDLESS), [one])[0] for one in asked]
    assert asked[0].canvas.tokens.tolist() == asked[1].canvas.tokens.tolist()
    assert [end.forwards for end in ends] == [4, 4]


def test_filling_saves_forwards() -> None:
    """Each token that the model writes stands in for the end of text; the second of them decides all that follows."""
    plain = request("conv", unmask="conv", block_length=0, early_stop=False)
    finish(NumpyEngine(ENDLESS), [plain])
    forwards = []
    for end_id in np.unique(plain.canvas.tokens[5:]).tolist():
        config = replace(ENDLESS, eos_token_ids=(end_id,))
        asked = request("conv", config=config, unmask="conv", block_length=0, early_stop=False, eos_fill=True)
        (end,) = finish(NumpyEngine(config), [asked])
        ends = np.flatnonzero(asked.canvas.tokens[5:] == end_id)
        assert (asked.canvas.tokens[5:][ends[1:2].sum() or 16 :] == end_id).all()
        forwards.append(end.forwards)
    assert min(forwards) < 16 == max(forwards)
