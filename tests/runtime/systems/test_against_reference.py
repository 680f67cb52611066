"""Each system on exported models of the LLaDA and Dream families: the tokens and forwards of the plain-torch reference."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dllm_edge.runtime.arrays import IntArray
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.base import Lanes
from dllm_edge.runtime.engines.onnxruntime.cpu import OnnxRuntimeEngine
from dllm_edge.runtime.systems import SYSTEMS

torch = pytest.importorskip("torch", reason="the reference is torch")

from ...reference.model import load  # noqa: E402
from .reference_runs import DECODERS, OWN_RULE, Pair, edited_in, first_difference, returned_in  # noqa: E402

PROMPTS = [np.random.default_rng(length).integers(0, 250, length).tolist() for length in (5, 14, 9)]
SIZES: dict[str, Any] = {"gen_length": 24, "block_length": 8, "early_stop": False}
ONE: dict[str, Any] = {"gen_length": 16, "block_length": 0, "early_stop": False}
RULES: tuple[dict[str, Any], ...] = (
    {**SIZES},
    {**SIZES, "steps": 12},
    {**SIZES, "steps": 9, "confidence": "topk_margin"},
    {**SIZES, "steps": 3},
    {**ONE, "confidence": "entropy"},
    {**SIZES, "unmask": "threshold", "threshold": 0.9},
    {**SIZES, "unmask": "threshold", "threshold": 0.25},
    {**SIZES, "unmask": "threshold", "threshold": 0.1, "confidence": "topk_margin"},
    {**SIZES, "unmask": "dynamic-threshold", "threshold": 0.5, "confidence_alpha": 0.6},
    {**SIZES, "unmask": "dynamic-threshold", "threshold": 0.4, "confidence_alpha": 0.9, "mask_ratio": "block"},
    {**SIZES, "unmask": "factor", "factor": 1.0},
    {**SIZES, "unmask": "factor", "factor": 3.5},
    {**SIZES, "unmask": "factor", "factor": 2.5, "reference_compat": True},
    {**SIZES, "unmask": "frechet", "frechet_margin": 0.1},
    {**SIZES, "unmask": "frechet", "frechet_margin": -2.0},
    {**ONE, "unmask": "schedule", "confidence": "maskgit_plus"},
    {**ONE, "unmask": "schedule", "confidence": "topk_margin", "steps": 8},
    {**ONE, "unmask": "schedule", "confidence": "entropy"},
    {**SIZES, "unmask": "schedule", "confidence": "entropy", "steps": 12},
)
# What they know goes beyond a step's probabilities: entropies, neighbours, earlier steps.
KNOWING: tuple[dict[str, Any], ...] = (
    {**SIZES, "unmask": "entropy-bound", "entropy_bound": 4.0},
    {**SIZES, "unmask": "entropy-bound", "entropy_bound": 9.0, "confidence": "topk_margin"},
    {**SIZES, "unmask": "hierarchical", "low_threshold": 0.1, "threshold": 0.4},
    {**SIZES, "unmask": "hierarchical", "low_threshold": 0.1, "threshold": 0.4, "remask_threshold": 0.1},
    {**SIZES, "unmask": "local-leap", "threshold": 0.3, "leap_threshold": 0.15, "leap_radius": 2},
    {**SIZES, "unmask": "klass", "threshold": 0.15, "kl_threshold": 0.5},
    {**SIZES, "unmask": "klass", "threshold": 0.1, "kl_threshold": 0.3, "kl_steps": 1, "steps": 12},
    {**SIZES, "unmask": "credit", "threshold": 0.3},
    {**SIZES, "unmask": "credit", "threshold": 0.5, "credit_weight": 2.0, "credit_decay": 0.9, "credit_power": 0.5},
)
EVICTION: tuple[dict[str, Any], ...] = tuple(
    {**SIZES, **rule, "retention": retention, "kernel": kernel, "delay": delay}
    for rule in ({}, {"unmask": "threshold", "threshold": 0.2})
    for retention, kernel, delay in ((0.3, 3, 1), (0.5, 1, 1), (1.0, 3, 1), (0.5, 5, 1), (0.5, 3, 0), (0.5, 3, 2), (0.0, 3, 1))
)
DYNAMIC: dict[str, Any] = {**SIZES, "unmask": "dynamic-threshold", "threshold": 0.5, "confidence_alpha": 1.0}
PRUNING: tuple[dict[str, Any], ...] = (
    {**DYNAMIC, "window": 0},
    {**DYNAMIC, "window": 7, "mask_ratio": "block"},
    {**DYNAMIC, "window": 8, "confidence_alpha": 0.3},
    {**DYNAMIC, "window": 15},
    {**DYNAMIC, "window": 3, "trailing": 0},
    {**DYNAMIC, "window": 5, "trailing": 4},
    {**DYNAMIC, "window": 2, "trailing": 24},
    {**DYNAMIC, "window": 6, "retention": 0.5},
    {**SIZES, "window": 0, "trailing": 0, "retention": 0.3, "kernel": 1},
    {**DYNAMIC, "window": 0, "trailing": 0, "retention": 0.0},
)
FREEZING: tuple[dict[str, Any], ...] = tuple(
    {**SIZES, **form}
    for form in (
        {"freeze": "prompt"},
        {"freeze": "committed"},
        {"freeze": "window", "window": 8},
        {"freeze": "window", "window": 11, "unmask": "threshold", "threshold": 0.2},
        {"freeze": "window", "window": 64},
        {"freeze": "committed", "block_length": 0, "unmask": "factor"},
        {"freeze": "committed", "unmask": "saber"},
        {"freeze": "window", "window": 9, "unmask": "saber", "least_commits": 4},
        {"freeze": "block", "unmask": "threshold", "threshold": 0.2, "block_length": 12},
    )
)
DELAYED: tuple[dict[str, Any], ...] = tuple(
    {**SIZES, **form}
    for form in (
        {"refresh": 0},
        {"refresh": 3, "steps": 12},
        {"refresh": 0, "block_length": 0},
        {"refresh": 0, "block_length": 0, "unmask": "saber"},
        {"refresh": 4, "unmask": "hierarchical", "low_threshold": 0.1, "threshold": 0.4, "remask_threshold": 0.1},
        {"refresh": 0, "unmask": "threshold", "threshold": 0.25, "block_length": 12},
    )
)
NEIGHBOURS: tuple[dict[str, Any], ...] = tuple(
    {**SIZES, **form}
    for form in (
        {"window": 0, "warmup": 0},
        {"window": 1, "warmup": 5},
        {"window": 8, "refresh": 3},
        {"window": 40, "block_length": 4},
        {"window": 5, "unmask": "threshold", "threshold": 0.25, "warmup": 0},
    )
)
SABER: tuple[dict[str, Any], ...] = tuple(
    {**SIZES, "unmask": "saber", **form}
    for form in (
        {},
        {"backtrack": "probability"},
        {"reference_compat": True},
        {"reference_compat": True, "backtrack": "probability"},
        {"least_commits": 4, "backtrack_one_in": 2, "block_length": 0},
        {"least_commits": 4, "reference_compat": True, "block_length": 12},
        {"least_commits": 1, "backtrack_one_in": 0},
    )
)
CONV: tuple[dict[str, Any], ...] = tuple(
    {**SIZES, "unmask": "conv", **form}
    for form in (
        {},
        {"steps": 6, "conv_window": 3, "conv_mult": 0.1},
        {"steps": 9, "conv_window": 6, "conv_mult": 0.03, "confidence": "topk_margin"},
        {"block_length": 0, "steps": 8, "conv_window": 4, "conv_mult": 0.2},
        {"conv_top_k": 1, "steps": 12},
        {"conv_top_k": 5, "steps": 6, "conv_window": 5, "conv_mult": 0.3},
        {"conv_top_k": 31, "steps": 8, "block_length": 0, "conv_window": 2},
    )
)
WINO: tuple[dict[str, Any], ...] = tuple(
    {**SIZES, "unmask": "wino", **form}
    for form in (
        {"threshold": 0.3, "threshold_back": 0.9},
        {"threshold": 0.2, "threshold_back": 0.05},
        {"threshold": 0.1, "threshold_back": 0.5, "block_length": 0},
        {"threshold": 0.05, "threshold_back": 0.3, "confidence": "topk_margin", "block_length": 12},
    )
)
EDITING: tuple[dict[str, Any], ...] = tuple(
    {**SIZES, "unmask": "token-editing", **form}
    for form in (
        {"threshold": 0.3, "edit_threshold": 0.1},
        {"threshold": 0.2, "edit_threshold": 0.0, "block_length": 0},
        {"threshold": 0.1, "edit_threshold": 0.2, "max_post_edit_steps": 2, "block_length": 12},
        {"threshold": 0.9, "edit_threshold": 0.3, "max_post_edit_steps": 0},
    )
)
WHOLE: dict[str, Any] = {**SIZES, "cache": "none"}
SSD: tuple[dict[str, Any], ...] = (
    {**SIZES},
    {**SIZES, "branches": 1, "confidence": "topk_margin"},
    {**ONE, "branches": 5, "confidence": "entropy"},
    {**WHOLE},
    {**WHOLE, "branches": 2, "confidence": "entropy"},
    {**WHOLE, "branches": 0},
)
LOPA: tuple[dict[str, Any], ...] = (
    {**SIZES, "unmask": "threshold", "threshold": 0.9},
    {**SIZES, "unmask": "threshold", "threshold": 0.25, "branches": 1},
    {**SIZES, "unmask": "factor", "factor": 1.0, "branches": 7},
    {**ONE, "unmask": "threshold", "threshold": 0.3, "confidence": "topk_margin", "branches": 2},
    {**SIZES, "confidence": "entropy"},
    {**SIZES, "branches": 0, "steps": 12},
    {**WHOLE, "unmask": "threshold", "threshold": 0.3},
    {**WHOLE, "unmask": "frechet", "frechet_margin": 0.1, "branches": 2},
)
BLOCKS: tuple[dict[str, Any], ...] = tuple(
    {**SIZES, "unmask": "entropy-threshold", "refresh": 3, **form}
    for form in (
        {},
        {"entropy_threshold": 1.5},
        {"entropy_threshold": 2.5, "block_add_threshold": 0.5, "cache_delay": 1, "refresh": 0},
        {"entropy_threshold": 2.5, "block_add_threshold": 1.0, "cache_delay": 0, "refresh": 4},
        {"entropy_threshold": 2.0, "block_length": 4, "cache_delay": 3},
        {"entropy_threshold": 3.0, "block_length": 4, "block_add_threshold": 0.0, "cache_delay": 1, "refresh": 0},
        {"entropy_threshold": 2.0, "cache_delay": 10_000},
        {"entropy_threshold": -1.0, "block_length": 0, "refresh": 0},
        {"entropy_threshold": 2.0, "refresh": 1},
    )
)
# Of all decodes, how many may differ where the reference says that rounding explains it.
FRAGILE = 0.02


@pytest.fixture(scope="module", params=["llada", "dream"])
def pair(request: pytest.FixtureRequest, lively_bundle: Callable[[str], Path]) -> Pair:
    path = lively_bundle(request.param)
    bundle = Bundle.open(path)
    own = load(path.with_name("checkpoint"))
    pair = Pair(OnnxRuntimeEngine(bundle, threads=1), own, bundle.config, bundle.manifest.forbidden)
    # An end of text that does not come: what comes after it is of interest, too.
    return pair.ending_at(bundle.manifest.forbidden[-1])


def check(pair: Pair, system: str, rules: tuple[dict[str, Any], ...]) -> list[int]:
    """Hold every rule and prompt against the reference, in a batch and alone; the most tokens that a forward committed."""
    fragile, most = [], []
    for rule in rules:
        together = pair.runtime(system, PROMPTS, **rule)
        for prompt, end in zip(PROMPTS, together, strict=True):
            decoded = pair.reference(system, prompt, **rule)
            most.append(max(len(one.chosen) for one in decoded.passes))
            (alone,) = pair.runtime(system, [prompt], **rule)
            for kind, other in (("in a batch", end), ("alone", alone)):
                difference = first_difference(decoded, other)
                if difference is not None:
                    limit = decoded.first_fragile()
                    assert limit is not None, f"{rule}: differs {kind} at forward {difference}, and nothing there is close"
                    assert limit <= difference, f"{rule}: differs {kind} at forward {difference}, close only from {limit}"
                    fragile.append(f"{system}, {rule}, {kind}: from forward {difference}")
    assert len(fragile) <= FRAGILE * 2 * len(rules) * len(PROMPTS), fragile
    for line in fragile:
        warnings.warn(f"differs from the reference by rounding: {line}", stacklevel=2)
    return most


@pytest.mark.parametrize("system", DECODERS)
def test_tokens_and_forwards(system: str, pair: Pair) -> None:
    most = check(pair, system, RULES)
    assert len([count for count in most if 1 < count < 8]) > len(most) / 2, "too few steps of several tokens to prove anything"


@pytest.mark.parametrize("system", ["vanilla", "fast-dllm-dual"])
def test_rules_that_know_more(system: str, pair: Pair) -> None:
    most = check(pair, system, KNOWING)
    assert len([count for count in most if 1 < count < 8]) > len(most) / 2, "too few steps of several tokens to prove anything"
    remasking = next(rule for rule in KNOWING if "remask_threshold" in rule)
    assert any(any(returned_in(pair.runtime(system, [prompt], **remasking)[0])) for prompt in PROMPTS)


def test_klass_from_block_to_block(pair: Pair) -> None:
    """Its own system, by histories that outlive a block: others take more forwards."""
    rules = [rule for rule in KNOWING if rule["unmask"] == "klass"]
    check(pair, "klass", (*rules, {**SIZES, "unmask": "klass", "threshold": 0.1, "kl_threshold": 1.0, "kl_steps": 3}))
    own, plain = (
        sum(pair.runtime(system, [prompt], **rule)[0].forwards for rule in rules for prompt in PROMPTS)
        for system in ("klass", "vanilla")
    )
    assert own < plain


def takers(rule: str) -> list[str]:
    """The systems that decode by a rule."""
    return [name for name in (*DECODERS, *OWN_RULE) if rule in (SYSTEMS[name].rules or [rule])]


def widely(rules: tuple[dict[str, Any], ...], system: str) -> tuple[dict[str, Any], ...]:
    """All settings without a cache and in the system that they are for, two in each other."""
    return rules if system in ("vanilla", rules[0]["unmask"]) else rules[:2]


@pytest.mark.parametrize("system", takers("saber"))
def test_saber(system: str, pair: Pair) -> None:
    """Its own system, whose rule outlives a block, and each other one; tokens go back to the mask in all of them."""
    check(pair, system, SABER)
    ends = [pair.runtime(system, [prompt], **SABER[0])[0] for prompt in PROMPTS]
    assert all(any(returned_in(end)) for end in ends)


@pytest.mark.parametrize("system", takers("conv"))
def test_conv(system: str, pair: Pair) -> None:
    check(pair, system, widely(CONV, system))


def test_conv_fills_after_the_second_end(pair: Pair) -> None:
    """At each token that a plain decode ends up with, as if that were the end of the text."""
    (plain,) = pair.runtime("conv", [PROMPTS[0]], **CONV[3])
    filled = 0
    for token in dict.fromkeys(plain.request.canvas.tokens[5:].tolist()):
        ending = pair.ending_at(token)
        for rule in (CONV[0], CONV[3], CONV[5]):
            settings = {**rule, "eos_fill": True}
            (end,) = ending.runtime("conv", [PROMPTS[0]], **settings)
            assert first_difference(ending.reference("conv", PROMPTS[0], **settings), end) is None
            filled += any(edited_in(end))
    assert filled > 2


@pytest.mark.parametrize("system", takers("wino"))
def test_wino(system: str, pair: Pair) -> None:
    check(pair, system, widely(WINO, system))
    ends = [pair.runtime(system, [prompt], **rule)[0] for prompt in PROMPTS for rule in WINO[:2]]
    assert len([end for end in ends if any(returned_in(end))]) > len(ends) / 2


@pytest.mark.parametrize("system", takers("token-editing"))
def test_token_editing(system: str, pair: Pair) -> None:
    check(pair, system, widely(EDITING, system))
    ends = [pair.runtime(system, [prompt], **EDITING[0])[0] for prompt in PROMPTS]
    assert all(any(edited_in(end)) for end in ends)


def test_the_systems_differ(pair: Pair) -> None:
    """Else agreement would say nothing about caches."""
    for prompt in PROMPTS:
        ends = [pair.runtime(system, [prompt], **SIZES)[0].request.canvas.tokens.tolist() for system in DECODERS]
        assert all(first != second for index, first in enumerate(ends) for second in ends[:index])
        assert len(set(ends[0][len(prompt) :])) > 8


def test_evictions(pair: Pair) -> None:
    check(pair, "sparse-dllm", EVICTION)


def test_pruned_suffixes(pair: Pair) -> None:
    check(pair, "streaming-dllm", PRUNING)


def test_what_is_frozen(pair: Pair) -> None:
    check(pair, "free-cache", FREEZING)


def test_what_is_cached_late(pair: Pair) -> None:
    check(pair, "dkv-cache", DELAYED)


def test_neighbours_that_are_sent(pair: Pair) -> None:
    check(pair, "vicinity", NEIGHBOURS)


@pytest.mark.parametrize(("system", "settings"), [("ssd", SSD), ("lopa", LOPA), ("d3llm", BLOCKS)])
def test_several_in_flight(system: str, settings: tuple[dict[str, Any], ...], pair: Pair) -> None:
    """Versions of the canvas, or blocks; a forward decides more than its rule would alone."""
    most = check(pair, system, settings)
    assert len([count for count in most if count > 1]) > len(most) / 2


@pytest.mark.parametrize(("retention", "kernel", "delay"), [(0.3, 3, 1), (0.5, 5, 0), (0.7, 1, 2)])
def test_what_is_kept(retention: float, kernel: int, delay: int, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same slots of every layer in every block."""
    kept: list[list[list[int]]] = []
    select = pair.engine.select

    def record(source: Lanes, keep: IntArray, target: Lanes) -> None:
        kept.append(keep.tolist())
        select(source, keep, target)

    monkeypatch.setattr(pair.engine, "select", record)
    settings = {**SIZES, "retention": retention, "kernel": kernel, "delay": delay}
    for prompt in PROMPTS:
        kept.clear()
        pair.runtime("sparse-dllm", [prompt], **settings)
        decoded = pair.reference("sparse-dllm", prompt, **settings)
        assert min(eviction.gap for eviction in decoded.evictions) > 1e-5
        assert kept == [eviction.kept for eviction in decoded.evictions]


@pytest.mark.parametrize(("system", "stop_at"), [*((name, "text") for name in DECODERS), ("streaming-dllm", "block")])
def test_early_stop(system: str, stop_at: str, pair: Pair) -> None:
    """At each token that a plain decode ends up with, as if that were the end of the text."""
    (plain,) = pair.runtime(system, [PROMPTS[0]], **SIZES)
    forwards = set()
    for token in dict.fromkeys(plain.request.canvas.tokens[5:].tolist()):
        ending = pair.ending_at(token)
        for rule in ({**SIZES}, {**SIZES, "unmask": "threshold", "threshold": 0.25}):
            settings = {**rule, "early_stop": True, "stop_at": stop_at}
            (end,) = ending.runtime(system, [PROMPTS[0]], **settings)
            decoded = ending.reference(system, PROMPTS[0], **settings)
            assert first_difference(decoded, end) is None
            forwards.add(end.forwards)
    assert len(forwards) > 3


def test_what_is_banned_is_what_the_model_would_say(pair: Pair) -> None:
    """Random weights do prefer the mask token, or one that the tokenizer lacks, here and there: only the ban stops them."""
    mask, random = pair.config.mask_token_id, np.random.default_rng(0)
    assert mask in pair.banned
    preferred: set[int] = set()
    for _ in range(20):
        prompt = random.integers(0, 250, 8).tolist()
        preferred |= set(pair.model.forward(torch.tensor([*prompt, *[mask] * 24])).logits[8:].argmax(-1).tolist())
        (end,) = pair.runtime("vanilla", [prompt], **SIZES, unmask="threshold", threshold=0.2)
        assert not set(pair.banned) & set(end.request.canvas.tokens[8:].tolist())
    assert preferred & set(pair.banned)
