from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.changes import Commit, Edit, Remask
from dllm_edge.runtime.decoding.window import Block

from ..numpy_engine import CONFIG, END, MASK, SHIFTED

ALIGNED = replace(CONFIG, attention="block-causal", attention_block=4)
M = MASK


def blocks(tokens: list[int], length: int, config: ModelConfig = CONFIG) -> list[tuple[int, int]]:
    return [(block.start, block.stop) for block in Canvas(tokens, config).blocks(length)]


@pytest.mark.parametrize(
    ("tokens", "length", "expected"),
    [
        ([1, 2, M, M, M, M], 2, [(2, 4), (4, 6)]),
        ([1, 2, M, M, M, M], 4, [(2, 6)]),
        ([1, 2, M, M, M, M, M], 2, [(2, 4), (4, 6), (6, 7)]),
        ([M, M, M], 3, [(0, 3)]),
        ([1, M, 2, M, 3, 4], 2, [(1, 3), (3, 4)]),
        ([1, M, 2, 3, 4, M, 6], 2, [(1, 3), (3, 5), (5, 6)]),
    ],
)
def test_blocks_run_from_the_first_mask_to_the_last(tokens: list[int], length: int, expected: list[tuple[int, int]]) -> None:
    assert blocks(tokens, length) == expected


@pytest.mark.parametrize(
    ("prompt", "masks", "expected"),
    [
        (1, 7, [(1, 4), (4, 8)]),
        (3, 5, [(3, 4), (4, 8)]),
        (4, 8, [(4, 8), (8, 12)]),
        (5, 2, [(5, 7)]),
        (5, 4, [(5, 8), (8, 9)]),
    ],
)
def test_blocks_of_a_block_causal_model_lie_where_its_own_do(prompt: int, masks: int, expected: list[tuple[int, int]]) -> None:
    assert blocks([1] * prompt + [M] * masks, 4, ALIGNED) == expected


@pytest.mark.parametrize("prompt", [1, 4, 5])
@pytest.mark.parametrize("config", [CONFIG, ALIGNED], ids=["bidirectional", "block-causal"])
def test_a_length_of_zero_makes_one_block(prompt: int, config: ModelConfig) -> None:
    assert blocks([1] * prompt + [M] * 7, 0, config) == [(prompt, prompt + 7)]


def test_positions_of_a_block() -> None:
    canvas = Canvas([1, M, 2, M, M, 3], CONFIG)
    block = Block(1, 4)
    assert (len(canvas), len(block), canvas.start, canvas.stop) == (6, 3, 1, 5)
    assert canvas.masked(block).tolist() == [1, 3]
    assert canvas.outside(block).tolist() == [True, False, False, False, True, True]
    assert canvas.before(block).tolist() == [True, False, False, False, False, False]


def test_a_full_step() -> None:
    canvas = Canvas([7, 8, M, M, M], CONFIG)
    step = canvas.step(canvas.whole, predict=Block(2, 4))
    assert (step.kind, step.keep_rows, step.model) == ("full", False, "main")
    assert step.input_ids.tolist() == [7, 8, M, M, M]
    assert step.position_ids.tolist() == [0, 1, 2, 3, 4]
    assert (step.logit_rows.tolist(), step.predicts.tolist()) == ([2, 3], [2, 3])
    assert all(part is None for part in (step.visible, step.own_mask, step.target_ids, step.saliency_weights))


def test_a_step_is_of_the_tokens_at_its_time() -> None:
    canvas = Canvas([7, M, M], CONFIG)
    full, window = (
        canvas.step(canvas.whole, predict=Block(1, 3)),
        canvas.step(Block(1, 3), visible=canvas.before(Block(1, 3))),
    )
    canvas.commit(np.array([1]), np.array([9]), np.array([0.5], dtype=np.float32))
    assert (full.input_ids.tolist(), window.input_ids.tolist()) == ([7, M, M], [M, M])


@pytest.mark.parametrize(
    ("options", "evicts", "weights"),
    [({}, False, None), ({"evicts": True}, True, None), ({"salient": Block(2, 4)}, False, [0, 0, 0.5, 0.5, 0])],
)
def test_refreshes(options: dict[str, Any], evicts: bool, weights: list[float] | None) -> None:
    refresh = Canvas([7, 8, M, M, M], CONFIG).refresh(predict=Block(2, 4), **options)
    assert (refresh.kind, refresh.evicts, refresh.position_ids.tolist()) == ("refresh", evicts, [0, 1, 2, 3, 4])
    found = refresh.saliency_weights
    assert (None if found is None else found.tolist()) == weights


def test_a_refresh_over_a_part_of_the_canvas() -> None:
    """Streaming-dLLM's pruned suffix: slot i of the cache is then the window's i-th position."""
    canvas = Canvas([7, 8, M, M, M, M, M], CONFIG)
    refresh = canvas.refresh(np.array([0, 1, 2, 3, 6]), predict=Block(2, 4), salient=Block(3, 5))
    assert (refresh.position_ids.tolist(), refresh.input_ids.tolist()) == ([0, 1, 2, 3, 6], [7, 8, M, M, M])
    assert (refresh.logit_rows.tolist(), refresh.predicts.tolist()) == ([2, 3], [2, 3])
    assert refresh.saliency_weights is not None
    assert refresh.saliency_weights.tolist() == [0, 0, 0, 0.5, 0]


@pytest.mark.parametrize(("config", "rows"), [(CONFIG, [3, 1, 4]), (SHIFTED, [0, 3, 2])])
def test_windows_in_any_order_with_gaps_and_repeats(config: ModelConfig, rows: list[int]) -> None:
    """The first row that has a position predicts it, or with a shift the one after it."""
    canvas = Canvas([7, 8, M, M, 9, M, M], config)
    step = canvas.step(np.array([1, 3, 4, 2, 5, 3]), predict=np.array([2, 3, 5]))
    assert step.input_ids.tolist() == [8, M, 9, M, M, M]
    assert (step.logit_rows.tolist(), step.predicts.tolist()) == (rows, [2, 3, 5])


def test_a_window_step_counts_rows_from_the_windows_start() -> None:
    canvas = Canvas([7, 8, M, M, M, M], CONFIG)
    step = canvas.step(Block(2, 6), predict=Block(3, 5), visible=canvas.before(Block(2, 6)))
    assert (step.kind, step.input_ids.tolist(), step.position_ids.tolist()) == ("block", [M] * 4, [2, 3, 4, 5])
    assert (step.logit_rows.tolist(), step.predicts.tolist()) == ([1, 2], [3, 4])
    assert step.visible is not None
    assert step.visible.tolist() == [True, True, False, False, False, False]


@pytest.mark.parametrize(
    ("start", "stop", "rows"),
    [(2, 5, [1, 2, 3]), (0, 3, [0, 0, 1]), (1, 3, [0, 1])],
)
def test_with_a_shift_the_row_before_predicts(start: int, stop: int, rows: list[int]) -> None:
    """What torch.cat([z[:1], z[:-1]]) would put there, of any full step."""
    canvas = Canvas([M] * 6, SHIFTED)
    step = canvas.step(canvas.whole, predict=Block(start, stop))
    raw = np.arange(len(canvas))
    assert step.logit_rows.tolist() == rows == np.concatenate((raw[:1], raw[:-1]))[start:stop].tolist()
    assert canvas.predicting(Block(start, stop), step).tolist() == list(range(stop - start))


@pytest.mark.parametrize(("config", "rows"), [(CONFIG, [0, 1, 2]), (SHIFTED, [1, 2])])
def test_a_shifted_window_does_not_predict_its_first_position(config: ModelConfig, rows: list[int]) -> None:
    canvas, block = Canvas([7, 8, M, M, M], config), Block(2, 5)
    assert canvas.predicting(block, canvas.step(block, visible=canvas.before(block))).tolist() == rows
    wider = canvas.step(Block(1, 5), predict=block, visible=canvas.before(block))
    assert canvas.predicting(block, wider).tolist() == [0, 1, 2]


@pytest.mark.parametrize("config", [CONFIG, SHIFTED])
def test_predicting_whatever_the_order_of_rows(config: ModelConfig) -> None:
    """Rows out of order and with gaps, as WeDLM sends them: against the definition."""
    shift = int(config.logit_shift)
    random = np.random.default_rng(0)
    for _ in range(50):
        canvas = Canvas([7, *np.where(random.random(11) < 0.6, M, 8).tolist(), M], config)
        positions = random.permutation(13)[: random.integers(2, 13)]
        whole = canvas.step(canvas.whole, predict=Block(0, 13))
        predicts = np.minimum(positions + shift * (random.random(positions.size) < 0.7), 12)
        step = replace(whole, position_ids=positions, logit_rows=np.arange(positions.size), predicts=predicts)
        block = Block(3, 10)
        expected = [
            row
            for row in range(positions.size)
            if 3 <= predicts[row] < 10 and canvas.tokens[predicts[row]] == M and positions[row] == predicts[row] - shift
        ]
        assert canvas.predicting(block, step).tolist() == sorted(expected, key=lambda row: (predicts[row], row))


def test_own_mask_of_a_block_causal_model() -> None:
    canvas = Canvas([7] * 6 + [M] * 3, ALIGNED)
    step = canvas.step(canvas.whole, predict=Block(6, 8))
    assert step.own_mask is not None
    assert step.own_mask.tolist() == [[key // 4 <= query // 4 for key in range(9)] for query in range(9)]


def test_commits_are_written_in_order_of_position() -> None:
    canvas = Canvas([7, M, M, M], CONFIG)
    canvas.commit(np.array([3, 1]), np.array([13, 11]), np.array([0.3, 0.1], dtype=np.float32))
    assert canvas.tokens.tolist() == [7, 11, M, 13]
    commit = canvas.commits[0]
    assert (commit.positions.tolist(), commit.ids.tolist()) == ([1, 3], [11, 13])
    np.testing.assert_array_equal(commit.confidences, np.array([0.1, 0.3], dtype=np.float32))


@pytest.mark.parametrize(("position", "token"), [(0, 9), (1, MASK)])
def test_a_given_token_and_the_mask_itself_are_never_written(position: int, token: int) -> None:
    with pytest.raises(AssertionError):
        Canvas([7, M], CONFIG).commit(np.array([position]), np.array([token]), np.array([0.5], dtype=np.float32))


@pytest.mark.parametrize(
    ("tokens", "decoded", "end", "generated"),
    [
        ([7, M, M, M], {}, None, []),
        ([7, M, M, M], {1: 11}, None, [11]),
        ([7, M, M, M], {2: END}, None, []),
        ([7, M, M, M], {1: 11, 2: END}, 2, [11]),
        ([7, M, M, M], {1: END, 2: END}, 1, []),
        ([7, M, M, M], {1: 11, 2: 12, 3: 13}, None, [11, 12, 13]),
        ([7, M, M, M], {1: 11, 3: END}, None, [11]),
        ([END, M, M], {1: 11, 2: 12}, None, [11, 12]),
        ([7, M, 8, M, 9], {1: 11, 3: 13}, None, [11, 8, 13]),
    ],
)
def test_where_the_text_ends(tokens: list[int], decoded: dict[int, int], end: int | None, generated: list[int]) -> None:
    canvas = Canvas(tokens, CONFIG)
    for position, token in decoded.items():
        canvas.commit(np.array([position]), np.array([token]), np.array([0.5], dtype=np.float32))
    assert canvas.end_of_text == end
    assert canvas.generated.tolist() == generated


def test_each_of_several_end_tokens_ends_the_text() -> None:
    canvas = Canvas([7, M, M], replace(CONFIG, eos_token_ids=(END, 9)))
    canvas.commit(np.array([1, 2]), np.array([9, 11]), np.array([0.5, 0.5], dtype=np.float32))
    assert (canvas.end_of_text, canvas.generated.tolist()) == (1, [])


def test_from_a_prompt() -> None:
    assert Canvas.from_prompt([7, 8], 3, CONFIG).tokens.tolist() == [7, 8, M, M, M]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 4, CONFIG), "the prompt is empty"),
        (([7, MASK], 4, CONFIG), "the prompt contains the mask token (id 5)"),
        (([7, 41], 4, CONFIG), "token id 41 lies outside the vocabulary of 41"),
        (([7, 1.5], 4, CONFIG), "token ids must be whole numbers"),
        ((["7"], 4, CONFIG), "token ids must be whole numbers"),
        (([7, -1], 4, CONFIG), "token id -1 lies outside the vocabulary of 41"),
        (([7] * 100, 29, CONFIG), "prompt and generation take 129 positions; this model has 128"),
        (([7], 4, replace(CONFIG, mask_token_id=None)), "a numpy model has no mask token"),
    ],
)
def test_prompts_that_cannot_be_decoded(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(DllmEdgeError) as caught:
        Canvas.from_prompt(*arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([7, 8], "no masked position"),
        ([], "at least one token"),
        ([[7, M]], "token ids must be whole numbers, not .7, "),
        ([M] * 129, "this model has 128"),
    ],
)
def test_canvases_that_cannot_be_decoded(tokens: Any, message: str) -> None:
    with pytest.raises(DllmEdgeError, match=message):
        Canvas(tokens, CONFIG)


def test_the_longest_prompt_that_fits() -> None:
    assert len(Canvas.from_prompt([7] * 100, 28, CONFIG)) == 128


def test_tokens_return_to_the_mask_and_change() -> None:
    canvas = Canvas([7, M, M, M], CONFIG)
    canvas.commit(np.array([1, 2, 3]), np.array([11, END, 13]), np.ones(3, dtype=np.float32))
    assert canvas.end_of_text == 2
    canvas.remask(np.array([3, 1]))
    assert canvas.tokens.tolist() == [7, M, END, M]
    assert canvas.end_of_text is None
    canvas.edit(np.array([2]), np.array([12]), np.array([0.25], dtype=np.float32))
    assert canvas.tokens.tolist() == [7, M, 12, M]
    assert [type(change) for change in canvas.changes] == [Commit, Remask, Edit]
    remask, edit = canvas.changes[1:]
    assert remask.to_json() == {"positions": [1, 3], "previous_ids": [11, 13]}
    assert edit.to_json() == {"positions": [2], "ids": [12], "confidences": [0.25], "previous_ids": [END]}


@pytest.mark.parametrize("position", [0, 2])
def test_given_tokens_and_masks_are_neither_remasked_nor_edited(position: int) -> None:
    canvas, positions = Canvas([7, M, M], CONFIG), np.array([position])
    canvas.commit(np.array([1]), np.array([11]), np.ones(1, dtype=np.float32))
    with pytest.raises(AssertionError):
        canvas.remask(positions)
    with pytest.raises(AssertionError):
        canvas.edit(positions, np.array([12]), np.ones(1, dtype=np.float32))


def test_an_end_of_text_that_fills_what_follows() -> None:
    canvas = Canvas([7, M, M, M, 9, M], CONFIG)
    canvas.commit(np.array([1]), np.array([END]), np.ones(1, dtype=np.float32))
    canvas.fill_end(2)
    assert canvas.tokens.tolist() == [7, END, END, END, 9, END]
    assert canvas.changes[-1].to_json() == {"positions": [2, 3, 5], "ids": [END] * 3, "confidences": [1.0] * 3}
    canvas.fill_end(2)
    assert len(canvas.changes) == 2


def test_an_end_of_text_that_cuts_the_canvas_off() -> None:
    canvas = Canvas([7, *[M] * 6], CONFIG)
    blocks = canvas.blocks(2)
    assert next(blocks) == Block(1, 3)
    canvas.commit(np.array([1]), np.array([END]), np.ones(1, dtype=np.float32))
    canvas.truncate(4)
    assert (len(canvas), canvas.stop, canvas.whole, list(blocks)) == (4, 4, Block(0, 4), [Block(3, 4)])
    assert canvas.step(canvas.whole, predict=Block(3, 4)).input_ids.tolist() == [7, END, M, M]
    assert canvas.changes[-1].to_json() == {"length": 4}
    canvas.truncate(4)
    assert len(canvas.changes) == 2
    with pytest.raises(AssertionError):
        canvas.truncate(1)
