from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from . import checkpoints
from .decoding import Decoded, Settings
from .model import Forward, Frozen, Model, load
from .rules import candidates, quota, top
from .systems import fast_dllm_dual, fast_dllm_prefix, sparse_dllm, vanilla

System = Callable[[Model, list[int], Settings], Decoded]
SYSTEMS: list[System] = [vanilla, fast_dllm_prefix, fast_dllm_dual, sparse_dllm]
PROMPT = [1, 7, 2, 9, 11]
BLOCKS = Settings(gen_length=12, block_length=4)
RULES = [
    BLOCKS,
    replace(BLOCKS, steps=6),
    replace(BLOCKS, unmask="threshold", threshold=0.5),
    replace(BLOCKS, unmask="factor"),
    replace(BLOCKS, unmask="schedule", confidence="entropy"),
    replace(BLOCKS, unmask="schedule", confidence="topk_margin", steps=6),
]


@pytest.fixture(params=[checkpoints.llada, checkpoints.dream], ids=["llada", "dream"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Model:
    return load(request.param(tmp_path, layers=3, seed=6))


@pytest.fixture
def llada(tmp_path: Path) -> Model:
    return load(checkpoints.llada(tmp_path, layers=3, key_heads=2, seed=6))


@pytest.mark.parametrize("settings", RULES, ids=lambda rule: f"{rule.unmask}-{rule.total_steps}")
@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.__name__)
def test_decoding_ends_and_counts(system: System, settings: Settings, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """No mask is ever committed, and the forwards are those that ran."""
    ran = 0
    inner = Model.forward

    def counting(self: Model, ids: torch.Tensor, frozen: Frozen | None = None) -> Forward:
        nonlocal ran
        ran += 1
        return inner(self, ids, frozen)

    monkeypatch.setattr(Model, "forward", counting)
    decoded = system(model, PROMPT, settings)
    assert decoded.tokens[: len(PROMPT)] == PROMPT
    assert checkpoints.MASK not in decoded.tokens[len(PROMPT) :]
    assert decoded.forwards == ran == len(decoded.passes)
    assert sorted(commit.position for commit in decoded.commits) == list(range(5, 17))
    assert all(decoded.tokens[commit.position] == commit.token for commit in decoded.commits)
    blocks = [(commit.position - len(PROMPT)) // 4 for commit in decoded.commits]
    assert blocks == sorted(blocks)


def test_random_weights_do_predict_the_mask(llada: Model) -> None:
    """Without the ban, the test above would not hold."""
    canvas = torch.tensor(PROMPT + [checkpoints.MASK] * 12)
    assert checkpoints.MASK in llada.forward(canvas).logits.argmax(-1).tolist()


def test_banned_ids_are_never_committed(model: Model) -> None:
    plain = vanilla(model, PROMPT, BLOCKS)
    banned = (plain.commits[0].token,)
    for system in SYSTEMS:
        assert not set(banned) & {c.token for c in system(model, PROMPT, replace(BLOCKS, banned=banned)).commits}


@pytest.mark.parametrize("settings", RULES, ids=lambda rule: f"{rule.unmask}-{rule.total_steps}")
def test_first_step_of_a_single_block_is_the_baselines(settings: Settings, llada: Model) -> None:
    whole = replace(settings, block_length=12)
    expected = vanilla(llada, PROMPT, whole).passes[0]
    for system in (fast_dllm_prefix, fast_dllm_dual, sparse_dllm):
        assert system(llada, PROMPT, whole).passes[0] == expected


@pytest.mark.parametrize("settings", [BLOCKS, replace(BLOCKS, unmask="threshold", threshold=1.1)], ids=["quota", "threshold"])
@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.__name__)
def test_one_token_a_step(system: System, settings: Settings, model: Model) -> None:
    decoded = system(model, PROMPT, settings)
    assert decoded.forwards == 12
    assert [commit.forward for commit in decoded.commits] == list(range(12))


def test_dual_cache_with_a_refresh_before_every_step_is_the_baseline(llada: Model) -> None:
    """Staleness is the only approximation."""
    canvas = torch.tensor(PROMPT + [checkpoints.MASK] * 12)
    for start in (5, 9, 13):
        outside = torch.ones(17, dtype=torch.bool)
        outside[start : start + 4] = False
        while masked := [p for p in range(start, start + 4) if canvas[p] == checkpoints.MASK]:
            refresh = llada.forward(canvas)
            step = llada.forward(canvas, Frozen(refresh.keys, refresh.values, outside))
            torch.testing.assert_close(step.logits[~outside], refresh.logits[~outside])
            options = candidates(step.logits[masked], masked, "maskgit_plus", {checkpoints.MASK})
            for index in top([option.confidence for option in options], 1).indices:
                canvas[options[index].position] = options[index].token
    assert canvas.tolist() == vanilla(llada, PROMPT, BLOCKS).tokens


@pytest.mark.parametrize("settings", RULES, ids=lambda rule: f"{rule.unmask}-{rule.total_steps}")
def test_prefix_and_dual_agree_where_there_is_no_suffix(settings: Settings, model: Model) -> None:
    whole = replace(settings, block_length=12)
    assert fast_dllm_prefix(model, PROMPT, whole) == fast_dllm_dual(model, PROMPT, whole)


@pytest.mark.parametrize("delay", [0, 1, 2])
def test_sparse_that_keeps_all_is_a_dual_cache_with_a_later_refresh(delay: int, llada: Model) -> None:
    settings = replace(BLOCKS, steps=9, retention=1.0, delay=delay)
    canvas = torch.tensor(PROMPT + [checkpoints.MASK] * 12)
    for start in (5, 9, 13):
        outside = torch.ones(17, dtype=torch.bool)
        outside[start : start + 4] = False
        frozen = None
        for step, count in enumerate(quota(4, 3)):
            masked = [p for p in range(start, start + 4) if canvas[p] == checkpoints.MASK]
            result = llada.forward(canvas, frozen)
            if step == delay:
                frozen = Frozen(result.keys, result.values, outside)
            options = candidates(result.logits[masked], masked, "maskgit_plus", {checkpoints.MASK})
            for index in top([option.confidence for option in options], count).indices:
                canvas[options[index].position] = options[index].token
    assert sparse_dllm(llada, PROMPT, settings).tokens == canvas.tolist()
    if delay == 0:
        assert sparse_dllm(llada, PROMPT, settings).tokens == fast_dllm_dual(llada, PROMPT, settings).tokens
