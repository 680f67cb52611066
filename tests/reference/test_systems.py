from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from . import checkpoints
from .decoding import Decoded, Run, Settings
from .model import Model, load, shifted
from .systems import fast_dllm_dual, fast_dllm_prefix, sparse_dllm, streaming_dllm, vanilla

System = Callable[[Model, list[int], Settings], Decoded]
PROMPT = [1, 7, 2, 9, 11]
BLOCKS = Settings(gen_length=12, block_length=4)
MASKED = torch.tensor(PROMPT + [checkpoints.MASK] * 12)


@pytest.fixture
def llada(tmp_path: Path) -> Model:
    return load(checkpoints.llada(tmp_path / "llada", layers=3, key_heads=2, seed=6))


@pytest.fixture
def dream(tmp_path: Path) -> Model:
    return load(checkpoints.dream(tmp_path / "dream", layers=3, seed=6))


def counts(decoded: Decoded) -> list[int]:
    return [len(one.chosen) for one in decoded.passes]


def kinds(decoded: Decoded) -> list[str]:
    return [one.kind for one in decoded.passes]


def test_the_systems_differ(llada: Model, dream: Model) -> None:
    """Else agreement elsewhere would say nothing about caches."""
    for model in (llada, dream):
        results = [system(model, PROMPT, BLOCKS) for system in (vanilla, fast_dllm_prefix, fast_dllm_dual, sparse_dllm)]
        assert len({tuple(result.tokens) for result in results}) == 4


def test_settings_refuse_what_does_not_divide() -> None:
    with pytest.raises(ValueError, match="block_length 5"):
        replace(BLOCKS, block_length=5)
    for steps in (0, 7):
        with pytest.raises(ValueError, match="of the 3 blocks"):
            replace(BLOCKS, steps=steps)
    with pytest.raises(ValueError, match="odd"):
        replace(BLOCKS, kernel=2)
    replace(BLOCKS, steps=7, unmask="threshold")


def test_which_passes_are_full(llada: Model, dream: Model) -> None:
    for model in (llada, dream):
        assert kinds(vanilla(model, PROMPT, BLOCKS)) == ["full"] * 12
        assert kinds(fast_dllm_dual(model, PROMPT, BLOCKS)) == ["full", "block", "block", "block"] * 3
        assert kinds(sparse_dllm(model, PROMPT, BLOCKS)) == ["full", "full", "block", "block"] * 3
        assert kinds(sparse_dllm(model, PROMPT, replace(BLOCKS, delay=0))) == ["full", "block", "block", "block"] * 3
        assert kinds(sparse_dllm(model, PROMPT, replace(BLOCKS, delay=9))) == ["full"] * 12


def test_schedule_counts(llada: Model, dream: Model) -> None:
    """A step may commit nothing and is a forward all the same."""
    schedule = replace(BLOCKS, unmask="schedule")
    assert counts(vanilla(dream, PROMPT, schedule)) == [0, 1, 1, 2] * 3
    assert counts(vanilla(dream, PROMPT, replace(schedule, block_length=12))) == [0] + [1] * 10 + [2]
    assert counts(fast_dllm_dual(llada, PROMPT, schedule)) == [0, 1, 1, 2] * 3
    assert counts(fast_dllm_dual(dream, PROMPT, schedule)) == [1, 0, 1, 2] * 3
    assert counts(sparse_dllm(dream, PROMPT, replace(schedule, steps=3))) == [1, 3] * 3


def test_quota_counts(llada: Model, dream: Model) -> None:
    whole = Settings(gen_length=12, block_length=12, steps=5)
    assert counts(fast_dllm_prefix(llada, PROMPT, whole)) == [3, 3, 2, 2, 2]
    assert counts(vanilla(dream, PROMPT, whole)) == [3, 3, 2, 2, 2]
    assert counts(fast_dllm_prefix(dream, PROMPT, whole)) == [1, 3, 3, 3, 2]
    assert counts(sparse_dllm(dream, PROMPT, replace(whole, steps=1))) == [1, 11]


@pytest.mark.parametrize("system", [fast_dllm_prefix, fast_dllm_dual, sparse_dllm], ids=lambda system: system.__name__)
def test_a_shifted_refresh_commits_the_first_token(system: System, dream: Model) -> None:
    decoded = system(dream, PROMPT, replace(BLOCKS, unmask="threshold", threshold=0.5))
    first, second = decoded.passes[:2]
    assert first.chosen == [5]
    row = dream.forward(MASKED).logits[4].clone()
    row[checkpoints.MASK] = -torch.inf
    assert decoded.commits[0].token == int(row.argmax())
    assert [option.position for option in second.candidates] == [6, 7, 8]
    assert next(one.chosen for one in decoded.passes if one.block.start == 9) == [9]


def test_shift_without_a_cache_reads_the_row_before(dream: Model) -> None:
    logits = shifted(dream.forward(MASKED).logits)[5:9].clone()
    logits[:, checkpoints.MASK] = -torch.inf
    options = vanilla(dream, PROMPT, BLOCKS).passes[0].candidates
    assert [option.token for option in options] == logits.argmax(-1).tolist()


def test_no_prompt(llada: Model, dream: Model) -> None:
    for system in (vanilla, fast_dllm_prefix, fast_dllm_dual, sparse_dllm):
        for model in (llada, dream):
            assert system(model, [], replace(BLOCKS, block_length=12)).forwards == 12


def test_early_stop(llada: Model) -> None:
    """Stops with the forward that leaves an end-of-text token and no mask before it."""
    plain = vanilla(llada, PROMPT, BLOCKS)
    for position in range(5, 16):
        end = plain.tokens[position]
        position = plain.tokens.index(end, 5)
        model = replace(llada, config=replace(llada.config, eos_tokens=(end,)))
        stopped = vanilla(model, PROMPT, replace(BLOCKS, early_stop=True))
        done = max(commit.forward for commit in plain.commits if commit.position <= position)
        assert stopped.forwards == done + 1
        late = [commit.position for commit in plain.commits if commit.forward > done]
        expected = [checkpoints.MASK if index in late else token for index, token in enumerate(plain.tokens)]
        assert stopped.tokens == expected


def test_early_stop_stops_every_system(dream: Model) -> None:
    for system in (vanilla, fast_dllm_prefix, fast_dllm_dual, sparse_dllm):
        plain = system(dream, PROMPT, BLOCKS)
        model = replace(dream, config=replace(dream.config, eos_tokens=(plain.tokens[5],)))
        stopped = system(model, PROMPT, replace(BLOCKS, early_stop=True))
        assert stopped.forwards == next(commit.forward for commit in plain.commits if commit.position == 5) + 1


@pytest.mark.parametrize(("retention", "kernel"), [(0.5, 3), (0.7, 1), (0.3, 5), (0.0, 3)])
def test_eviction_by_brute_force(retention: float, kernel: int, llada: Model) -> None:
    decoded = sparse_dllm(llada, PROMPT, replace(BLOCKS, retention=retention, kernel=kernel))
    assert [eviction.forward for eviction in decoded.evictions] == [1, 5, 9]
    canvas = MASKED.clone()
    for commit in decoded.commits[:5]:
        canvas[commit.position] = commit.token
    result = llada.forward(canvas)
    outside = [*range(9), *range(13, 17)]
    for layer, kept in enumerate(decoded.evictions[1].kept):
        query, key = result.queries[layer], result.keys[layer]
        score = [
            sum(float(query[head, row] @ key[head // 2, position]) for head in range(4) for row in range(9, 13)) / 16
            for position in outside
        ]
        reach = kernel // 2
        best = [max(score[max(0, index - reach) : index + reach + 1]) for index in range(13)]
        order = sorted(range(13), key=lambda index: (-best[index], index))
        assert kept == sorted(outside[index] for index in order[: int(13 * retention)])


def test_streaming_with_the_whole_suffix_is_the_prefix_cache_and_with_less_is_not(llada: Model, dream: Model) -> None:
    for model in (llada, dream):
        prefix = fast_dllm_prefix(model, PROMPT, BLOCKS)
        whole = replace(BLOCKS, retention=1.0)
        assert streaming_dllm(model, PROMPT, replace(whole, window=8)).commits == prefix.commits
        assert streaming_dllm(model, PROMPT, replace(whole, window=0, trailing=8)).commits == prefix.commits
        less = [streaming_dllm(model, PROMPT, replace(whole, window=window, trailing=0)) for window in (0, 3)]
        assert len({one.passes[1].candidates[0].confidence for one in (prefix, *less)}) == 3
        assert kinds(less[0]) == ["full", "block", "block", "block"] * 3


def test_a_pruned_pass_is_one_of_the_tokens_that_are_left(llada: Model) -> None:
    """Where what is pruned lies at the end, it is a shorter canvas."""
    found = streaming_dllm(llada, PROMPT, replace(BLOCKS, retention=1.0, window=0, trailing=0)).passes[0].candidates
    logits = llada.forward(MASKED[:9]).logits[5:9].clone()
    logits[:, checkpoints.MASK] = -torch.inf
    assert [option.token for option in found] == logits.argmax(-1).tolist()


def test_the_threshold_falls_with_the_masks_that_are_sent(llada: Model) -> None:
    """One token a forward, by a threshold out of reach: of 8, 7, ... masks of 8 that are sent, or of the block's four."""
    settings = replace(BLOCKS, unmask="dynamic-threshold", threshold=2.0, confidence_alpha=0.5, window=3)
    for counting, sent in ((settings, 8), (replace(settings, mask_ratio="block"), 4)):
        run = Run(llada, PROMPT, counting)
        block = next(run.blocks())
        run.sent[12:16] = False
        for masks in (4, 3, 2, 1):
            assert run.least(block) == pytest.approx(2 * (1 - 0.5 * (4 - masks) / sent))
            run.canvas[block.start + masks - 1] = 1


def test_layers_keep_different_positions(llada: Model) -> None:
    kept = sparse_dllm(llada, PROMPT, BLOCKS).evictions[0].kept
    assert any(one != other for one, other in pairwise(kept))
