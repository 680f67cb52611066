"""Random weights end, with every system and every rule; no mask token is written; counters are launches."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.changes import Remask
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.scheduler.request import Request
from dllm_edge.runtime.systems import SYSTEMS
from dllm_edge.runtime.unmasking import RULES as RULES_BY_NAME

from ..numpy_engine import ENDLESS, MASK, SHIFTED, NumpyEngine
from ..recorder import Recorder, finish
from ..scripted import request

RULES: tuple[dict[str, Any], ...] = (
    {"unmask": "quota"},
    {"unmask": "quota", "steps": 4},
    {"unmask": "quota", "steps": 32, "confidence": "random"},
    {"unmask": "schedule"},
    {"unmask": "schedule", "steps": 6, "confidence": "entropy"},
    {"unmask": "schedule", "steps": 2, "confidence": "topk_margin"},
    {"unmask": "threshold", "threshold": 0.0},
    {"unmask": "threshold", "threshold": 1.01},
    {"unmask": "threshold", "threshold": 0.5, "temperature": 1.5},
    {"unmask": "dynamic-threshold", "confidence_alpha": 1.0},
    {"unmask": "dynamic-threshold", "threshold": 1.01, "mask_ratio": "block"},
    {"unmask": "entropy-threshold"},
    {"unmask": "entropy-threshold", "entropy_threshold": 100.0},
    {"unmask": "entropy-threshold", "entropy_threshold": -1.0},
    {"unmask": "factor"},
    {"unmask": "factor", "factor": 1e6},
    {"unmask": "factor", "factor": 1e-6, "reference_compat": True},
    {"unmask": "frechet"},
    {"unmask": "frechet", "frechet_margin": -1e6},
    {"unmask": "frechet", "frechet_margin": 1.0},
    {"unmask": "entropy-bound"},
    {"unmask": "entropy-bound", "entropy_bound": 0.0, "confidence": "topk_margin"},
    {"unmask": "entropy-bound", "entropy_bound": 1e6, "confidence": "entropy"},
    {"unmask": "hierarchical", "low_threshold": 0.1},
    {"unmask": "hierarchical", "low_threshold": 0.0, "threshold": 0.0, "remask_threshold": 1.0},
    {"unmask": "hierarchical", "low_threshold": 1.01, "threshold": 1.01, "remask_threshold": 1.0},
    {"unmask": "local-leap", "threshold": 0.4, "leap_threshold": 0.2},
    {"unmask": "local-leap", "leap_radius": 0},
    {"unmask": "klass", "threshold": 0.1, "kl_threshold": 0.5},
    {"unmask": "klass", "kl_steps": 1, "kl_threshold": 0.0, "steps": 4},
    {"unmask": "klass", "kl_steps": 100, "threshold": 0.0, "steps": 32},
    {"unmask": "credit", "threshold": 0.3},
    {"unmask": "credit", "credit_weight": 100.0, "credit_decay": 1.0, "credit_power": 0.0, "temperature": 1.0},
    {"unmask": "credit", "credit_decay": 0.0, "credit_power": 100.0},
    {"unmask": "saber"},
    {"unmask": "saber", "backtrack_one_in": 1, "least_commits": 3},
    {"unmask": "saber", "backtrack": "probability", "backtrack_one_in": 0, "least_commits": 1},
    {"unmask": "saber", "reference_compat": True, "least_commits": 16},
    {"unmask": "saber", "reference_compat": True, "backtrack": "probability"},
    {"unmask": "conv"},
    {"unmask": "conv", "steps": 4, "conv_window": 1, "conv_mult": 1e6},
    {"unmask": "conv", "conv_top_k": 1},
    {"unmask": "conv", "conv_top_k": 31, "conv_window": 2, "steps": 4, "conv_mult": 1e-6},
    {"unmask": "wino"},
    {"unmask": "wino", "threshold": 0.0, "threshold_back": 1.0},
    {"unmask": "token-editing", "max_post_edit_steps": 0, "threshold": 0.0, "edit_threshold": 0.0},
)
# Of the system's own settings, the edges.
OWN: dict[str, tuple[dict[str, Any], ...]] = {
    "vanilla": ({},),
    "fast-dllm-prefix": ({}, {"refresh": 1}),
    "fast-dllm-dual": ({}, {"refresh": 3}),
    "streaming-dllm": (
        {"retention": 1.0, "window": 0, "trailing": 0},
        {"retention": 0.0, "window": 3},
        {"retention": 0.5, "kernel": 31, "trailing": 100},
    ),
    "ssd": ({}, {"branches": 0, "cache": "none"}, {"branches": 9}),
    "lopa": ({}, {"branches": 1, "cache": "none"}, {"branches": 9}),
    "d3llm": (
        {},
        {"cache_delay": 0, "refresh": 0, "block_add_threshold": 0.0},
        {"cache_delay": 1, "refresh": 2},
        {"cache_delay": 99, "block_add_threshold": 1.0},
    ),
    "sparse-dllm": ({}, {"retention": 0.0, "delay": 0}, {"retention": 1.0, "kernel": 31, "delay": 100}),
}

ONE_DECISION: dict[str, dict[str, Any]] = {
    "ssd": {"branches": 0},
    "lopa": {"branches": 0},
    "d3llm": {"block_add_threshold": 1.0},
}
"""Of systems that decide several times a forward, the settings with which they do not."""


def edges(system: str) -> tuple[dict[str, Any], ...]:
    """A system's own settings at their bounds, where `OWN` has no better ones."""
    bounds = (
        {own.name: own.dtype(bound)} for own in SYSTEMS[system].settings for bound in (own.least, own.most) if bound is not None
    )
    return OWN.get(system, ({}, *bounds))


def test_edges_of_a_system_that_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(OWN, "sparse-dllm")
    assert edges("sparse-dllm")[:3] == ({}, {"retention": 0.0}, {"retention": 1.0})


@pytest.mark.parametrize("config", [ENDLESS, SHIFTED], ids=["plain", "shifted"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_random_weights_end(system: str, config: ModelConfig) -> None:
    taken = SYSTEMS[system].rules or RULES_BY_NAME
    rules = [rule for rule in RULES if rule["unmask"] in taken]
    for (rule, own), block_length in product(product(rules, edges(system)), (8, 0)):
        engine = Recorder(NumpyEngine(config))
        asked = request(system, config=config, block_length=block_length, early_stop=False, **rule, **own)
        (end,) = finish(engine, [asked])
        assert MASK not in asked.canvas.tokens[5:]
        assert end.reason in ("complete", "stop")
        # A schedule pauses at most before its last step; everything else commits a token a step, and a shift one more.
        assert end.forwards == len(engine.launches) <= 16 + 2 * asked.settings.block_count
        remasked = sum(change.positions.size for change in asked.canvas.changes if isinstance(change, Remask))
        assert sum(commit.positions.size for commit in asked.canvas.commits) == 16 + remasked


@pytest.mark.parametrize("system", SYSTEMS)
def test_one_token_a_step_where_no_confidence_is_enough(system: str) -> None:
    """By a threshold out of reach, and by a quota of as many steps as tokens."""
    rules: tuple[dict[str, Any], ...] = ({"unmask": "threshold", "threshold": 1.01}, {"unmask": "quota", "steps": 16})
    for settings in rules:
        for config in (ENDLESS, SHIFTED):
            asked = request(system, config=config, early_stop=False, **settings, **ONE_DECISION.get(system, {}))
            (end,) = finish(NumpyEngine(config), [asked])
            assert end.forwards == 16
            assert [commit.positions.size for commit in asked.canvas.commits] == [1] * 16


@pytest.mark.parametrize("config", [ENDLESS, SHIFTED], ids=["plain", "shifted"])
@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(
    "tokens",
    [
        [7, MASK, 8, MASK, MASK, 9, 9, MASK, 10],
        [MASK] * 9,
        [MASK, 8, 9, 10, 11, 12, 13, 14, MASK],
        [8, 9, 10, MASK],
        [8, MASK],
        [MASK],
    ],
    ids=lambda tokens: "".join("-" if token == MASK else "x" for token in tokens),
)
def test_canvases_with_given_tokens(tokens: list[int], system: str, config: ModelConfig) -> None:
    """Infilling: what is given stays, what is masked is decoded, in blocks that may be given in whole or in part."""
    for unmask, length in product(SYSTEMS[system].rules or RULES_BY_NAME, (1, 3, 0)):
        canvas = Canvas(tokens, config)
        whole = max(canvas.stop - canvas.start, length)
        settings = Settings(gen_length=whole, block_length=length, unmask=unmask, early_stop=False)
        finish(NumpyEngine(config), [Request(canvas, SYSTEMS[system], settings)])
        assert MASK not in canvas.tokens
        assert all(new == old for new, old in zip(canvas.tokens.tolist(), tokens, strict=True) if old != MASK)
