"""Guided diffusion against full forwards of both models, and what its judge may never do. Needs torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.step import GUIDE, MAIN
from dllm_edge.runtime.decoding.token_map import TokenMap
from dllm_edge.runtime.engines.onnxruntime.cpu import OnnxRuntimeEngine
from dllm_edge.runtime.scheduler.request import Finished, Request
from dllm_edge.runtime.scheduler.scheduler import Scheduler
from dllm_edge.runtime.systems import find_system

pytest.importorskip("torch", reason="the reference is torch")

from ...reference.decoding import Settings as Form
from ...reference.free_cache import Judging, flashdlm
from ...reference.model import Model, load

PROMPTS = [np.random.default_rng(length).integers(0, 250, length).tolist() for length in (5, 14, 9)]
SIZES: dict[str, Any] = {"gen_length": 24, "block_length": 8, "early_stop": False}
# That random models agree on something.
LENIENT = {"accept": "dynamic_threshold", "accept_threshold": 0.001}
FORMS: tuple[dict[str, Any], ...] = (
    {},
    {"accept": "topk", "accept_top_k": 32},
    {"accept": "topk_relative", "accept_top_k": 32, "accept_ratio": 0.02},
    LENIENT,
    {**LENIENT, "verify": 3},
    {"accept": "topk", "accept_top_k": 32, "verify": 1, "freeze": "committed"},
    {**LENIENT, "freeze": "block"},
    {**LENIENT, "freeze": "prompt", "verify": 5},
    {**LENIENT, "window": 8},
    {**LENIENT, "window": 64},
)


@pytest.fixture(scope="module", params=["llada", "dream"])
def models(request: pytest.FixtureRequest, lively_bundle: Callable[[str], Path]) -> tuple[Bundle, Model]:
    path = lively_bundle(request.param)
    return Bundle.open(path), load(path.with_name("checkpoint"))


@pytest.fixture(scope="module")
def guide(tiny_bundle: Callable[[str], Path]) -> tuple[Bundle, Model]:
    """One that is sure of nothing, and so now and then agrees."""
    path = tiny_bundle("llama")
    return Bundle.open(path), load(path.with_name("checkpoint"))


def run(bundle: Bundle, guide: Bundle, prompts: Sequence[list[int]], tokens: TokenMap, **settings: Any) -> list[Finished]:
    """All prompts in one batch, whose end of text does not come."""
    config = replace(bundle.config, eos_token_ids=(bundle.manifest.forbidden[-1],))
    system = find_system("flashdlm")
    chosen = Settings(**{**system.defaults, **SIZES, **settings})
    canvases = [Canvas.from_prompt(prompt, chosen.gen_length, config) for prompt in prompts]
    requests = [Request(canvas, system, chosen, trace=True, tokens_of_guide=tokens) for canvas in canvases]
    engines = {MAIN: OnnxRuntimeEngine(bundle, threads=1), GUIDE: OnnxRuntimeEngine(guide, threads=1)}
    ends = {id(event.request): event for event in Scheduler(engines).run(requests) if isinstance(event, Finished)}
    return [ends[id(request)] for request in requests]


def commits(end: Finished) -> list[int]:
    """How many tokens each forward of the decoded model led to."""
    return [one.positions.size for one in end.request.canvas.commits]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_tokens_and_what_each_forward_commits(
    form: dict[str, Any], models: tuple[Bundle, Model], guide: tuple[Bundle, Model]
) -> None:
    """In a batch and alone."""
    bundle, own = models
    judging = Judging(
        **{name: value for name, value in form.items() if name.startswith("accept")}, banned=guide[0].manifest.forbidden
    )
    settings = Form(
        24, 8, freeze=form.get("freeze", "window"), window=form.get("window", 128), banned=bundle.manifest.forbidden
    )
    same, most = TokenMap.identity(bundle.config.vocab_size), 1
    for prompt, end in zip(PROMPTS, run(bundle, guide[0], PROMPTS, same, **form), strict=True):
        decoded, counts = flashdlm(own, guide[1], prompt, settings, judging)
        (alone,) = run(bundle, guide[0], [prompt], same, **form)
        for one in (end, alone):
            assert one.request.canvas.tokens.tolist() == decoded.tokens
            assert commits(one) == counts
            assert sum(step.model == MAIN for step in one.trace) == decoded.forwards
        most = max(most, *counts)
        assert all(step.kind == "block" for step in end.trace if step.model == MAIN and step.forward > 1)
    assert 1 < most < 24 or (most == 1 and not form), "too strict or too lenient to prove anything"
