"""Exactness: what the systems have to equal each other, and what their steps must equal however they are sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.step import Reserve
from dllm_edge.runtime.scheduler.request import Request
from dllm_edge.runtime.systems.base import Decoding, System
from dllm_edge.runtime.unmasking.unmasking import Unmasking

from ..numpy_engine import ENDLESS, SHIFTED, NumpyEngine
from ..recorder import finish
from ..scripted import PROMPTS, request

RULES: tuple[dict[str, Any], ...] = (
    {"unmask": "quota"},
    {"unmask": "quota", "steps": 6},
    {"unmask": "schedule", "steps": 8, "confidence": "entropy"},
    {"unmask": "threshold", "threshold": 0.4},
    {"unmask": "factor", "temperature": 0.7},
)
# Those whose approximations differ.
DIFFERENT = ("vanilla", "fast-dllm-prefix", "fast-dllm-dual", "sparse-dllm")

STREAMING: tuple[tuple[float, dict[str, Any]], ...] = (
    (1.0, {"window": 8}),
    (1.0, {"window": 3}),
    (1.0, {"window": 0, "trailing": 0}),
    (0.4, {"window": 3}),
)

rules = pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule['unmask']}-{rule.get('steps', 0)}")
both = pytest.mark.parametrize("config", [ENDLESS, SHIFTED], ids=["plain", "shifted"])


def decoded(system: str | System, config: ModelConfig = ENDLESS, **settings: Any) -> Request:
    """A finished request."""
    asked = request(system, PROMPTS[0], config, early_stop=False, **settings)
    finish(NumpyEngine(config), [asked])
    return asked


def assert_equal(first: Request, second: Request, steps: int | None = None) -> None:
    """The same tokens in the same order with the same confidences, over the first `steps` commits or all of them."""
    assert len(first.canvas.commits) == len(second.canvas.commits) or steps
    for here, there in zip(first.canvas.commits[:steps], second.canvas.commits[:steps], strict=True):
        assert here.positions.tolist() == there.positions.tolist()
        assert here.ids.tolist() == there.ids.tolist()
        np.testing.assert_allclose(here.confidences, there.confidences, rtol=1e-5)


def system_of(decode: Callable[[Canvas, Settings, Unmasking], Decoding]) -> System:
    return System("tested", "", "", "2025-01", decode, ("bidirectional",))


@rules
@pytest.mark.parametrize("system", ["fast-dllm-prefix", "fast-dllm-dual", "sparse-dllm"])
def test_the_first_step_of_a_block_is_the_baselines(system: str, rule: dict[str, Any]) -> None:
    assert_equal(decoded(system, block_length=0, **rule), decoded("vanilla", block_length=0, **rule), steps=1)


@rules
def test_a_dual_cache_that_is_always_fresh_is_no_cache(rule: dict[str, Any]) -> None:
    """A refresh before every block step, whose answer is thrown away; staleness is the only approximation."""

    def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        yield Reserve(len(canvas))
        for block, rule in unmasking.blocks():
            while rule.pending:
                yield canvas.refresh(predict=block)
                rule.commit((yield canvas.step(block, visible=canvas.outside(block))))

    assert_equal(decoded(system_of(decode), **rule), decoded("vanilla", **rule))


@rules
@pytest.mark.parametrize("system", ["fast-dllm-prefix", "fast-dllm-dual", "dkv-cache", "vicinity"])
def test_a_refresh_in_every_step_is_the_baseline(system: str, rule: dict[str, Any]) -> None:
    """Our `refresh` setting, at its end."""
    assert_equal(decoded(system, refresh=1, **rule), decoded("vanilla", **rule))


@both
@rules
def test_prefix_and_dual_agree_where_nothing_follows_the_block(rule: dict[str, Any], config: ModelConfig) -> None:
    prefix = decoded("fast-dllm-prefix", config, block_length=0, **rule)
    assert_equal(prefix, decoded("fast-dllm-dual", config, block_length=0, **rule))


@both
@rules
def test_a_vicinity_of_nothing_is_the_dual_cache_and_one_of_all_is_none(rule: dict[str, Any], config: ModelConfig) -> None:
    dual = decoded("fast-dllm-dual", config, **rule)
    assert_equal(decoded("vicinity", config, window=0, warmup=1, **rule), dual)
    assert_equal(decoded("vicinity", config, window=21, **rule), decoded("vanilla", config, **rule))


@both
@rules
def test_warm_throughout_is_the_baseline(rule: dict[str, Any], config: ModelConfig) -> None:
    assert_equal(decoded("vicinity", config, warmup=16, **rule), decoded("vanilla", config, **rule))


@both
def test_a_late_cache_is_not_read_in_a_blocks_first_two_steps(config: ModelConfig) -> None:
    """So blocks of two steps are the baseline's."""
    assert_equal(decoded("dkv-cache", config, steps=4), decoded("vanilla", config, steps=4))


@both
@rules
@pytest.mark.parametrize("delay", [0, 1, 2])
def test_sparse_that_keeps_everything_is_a_dual_cache_filled_later(
    delay: int, rule: dict[str, Any], config: ModelConfig
) -> None:

    def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        yield Reserve(len(canvas))
        for block, rule in unmasking.blocks(first_alone=canvas.config.logit_shift):
            step = 0
            while rule.pending:
                full = canvas.refresh(predict=block) if step == delay else canvas.step(canvas.whole, predict=block)
                rule.commit((yield full if step <= delay else canvas.step(block, visible=canvas.outside(block))))
                step += 1

    sparse = decoded("sparse-dllm", config, retention=1.0, delay=delay, **rule)
    assert_equal(sparse, decoded(system_of(decode), config, **rule))
    if delay == 0:
        assert_equal(sparse, decoded("fast-dllm-dual", config, **rule))


@both
@rules
@pytest.mark.parametrize("pruned", [{"window": 8}, {"window": 7}, {"window": 0, "trailing": 8}])
def test_streaming_that_prunes_nothing_is_the_prefix_cache(
    pruned: dict[str, Any], rule: dict[str, Any], config: ModelConfig
) -> None:
    """A window and a last position that are the whole suffix."""
    streaming = decoded("streaming-dllm", config, retention=1.0, **pruned, **rule)
    assert_equal(streaming, decoded("fast-dllm-prefix", config, **rule))


@both
def test_streaming_with_a_whole_window_and_a_threshold_that_does_not_fall_is_the_prefix_cache(config: ModelConfig) -> None:
    """The authors' own baseline."""
    dynamic = {"unmask": "dynamic-threshold", "confidence_alpha": 0.0, "threshold": 0.4}
    streaming = decoded("streaming-dllm", config, retention=1.0, window=16, **dynamic)
    assert_equal(streaming, decoded("fast-dllm-prefix", config, unmask="threshold", threshold=0.4))


@both
@rules
def test_streaming_keeps_the_slots_that_sparse_keeps_where_nothing_follows_the_block(
    rule: dict[str, Any], config: ModelConfig
) -> None:
    streaming = decoded("streaming-dllm", config, block_length=0, retention=0.5, **rule)
    assert_equal(streaming, decoded("sparse-dllm", config, block_length=0, retention=0.5, delay=0, **rule))


def test_the_systems_differ() -> None:
    """Else none of the above would say anything about caches."""
    results = [decoded(system).canvas.tokens.tolist() for system in DIFFERENT]
    assert all(first != second for index, first in enumerate(results) for second in results[:index])
    kept = [decoded("sparse-dllm", retention=retention).canvas.tokens.tolist() for retention in (0.0, 0.3, 0.5, 1.0)]
    assert all(first != second for index, first in enumerate(kept) for second in kept[:index])
    pruned = [decoded("streaming-dllm", retention=share, **own).canvas.tokens.tolist() for share, own in STREAMING]
    assert all(first != second for index, first in enumerate(pruned) for second in pruned[:index])
