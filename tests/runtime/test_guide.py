"""Guides as `load` and the command line open them: real bundles of two families, with tokenizers of their own. Needs torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dllm_edge
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.guide import check_guide, open_guide

pytest.importorskip("torch", reason="tiny bundles are exported with torch")

SETTINGS: dict[str, Any] = {"gen_length": 16, "block_length": 8, "early_stop": False}


def test_a_guide_judges(tiny_bundle: Callable[..., Path]) -> None:
    """An LLaDA with a Llama of other special tokens; the guide's caches are counted, too."""
    model = dllm_edge.load(tiny_bundle("llada"), guide=tiny_bundle("llama"))
    strict = model.generate("How many?", system="flashdlm", **SETTINGS)
    lenient = model.generate("How many?", system="flashdlm", accept="dynamic_threshold", accept_threshold=0.0, **SETTINGS)
    assert model.config.mask_token_id not in [*strict.canvas, *lenient.canvas]
    assert lenient.forwards < strict.forwards <= 2 * 16
    assert strict.refresh_forwards == 2
    alone = dllm_edge.load(tiny_bundle("llada")).generate("How many?", system="free-cache", **SETTINGS)
    assert strict.steady_cache_bytes > alone.steady_cache_bytes
    assert model.generate("How many?", system="free-cache", **SETTINGS).canvas == alone.canvas


def test_guides_judge_in_batches_and_streams(tiny_bundle: Callable[..., Path]) -> None:
    model = dllm_edge.load(tiny_bundle("llada"), guide=tiny_bundle("llama"))
    prompts = ["How many?", "the", "in the thing a the"]
    alone = [model.generate(prompt, system="flashdlm", **SETTINGS).canvas for prompt in prompts]
    assert [end.canvas for end in model.generate_batch(prompts, system="flashdlm", **SETTINGS)] == alone
    *_, last = model.stream(prompts[0], system="flashdlm", **SETTINGS)
    assert last.canvas == alone[0]


def test_guides_that_do_not_fit_are_refused(tiny_bundle: Callable[..., Path]) -> None:
    llada, llama = tiny_bundle("llada"), tiny_bundle("llama")
    with pytest.raises(DllmEdgeError, match="flashdlm needs a guide: give one with --guide BUNDLE"):
        dllm_edge.load(llada).generate("a", system="flashdlm")
    with pytest.raises(DllmEdgeError, match=r"a guide is a causal model \(Llama's family\); this one is bidirectional"):
        dllm_edge.load(llada, guide=tiny_bundle("dream"))
    with pytest.raises(DllmEdgeError, match="a guide does not run on tensorrt-rtx: use the engine onnxruntime"):
        dllm_edge.load(llada, guide=llama, engine="tensorrt-rtx")
    with pytest.raises(DllmEdgeError, match="flashdlm has no setting 'unmask'"):
        dllm_edge.load(llada, guide=llama).generate("a", system="flashdlm", unmask="threshold")
    with pytest.raises(DllmEdgeError, match="window=4: is smaller than a block of 8"):
        dllm_edge.load(llada, guide=llama).generate("a", system="flashdlm", window=4, **SETTINGS)


def test_a_guide_has_to_have_as_many_positions(tiny_bundle: Callable[..., Path]) -> None:
    guide = open_guide(tiny_bundle("llama"), "onnxruntime", "cpu", 1, None)
    positions = guide.bundle.config.max_positions
    check_guide(guide, "flashdlm", positions)
    with pytest.raises(DllmEdgeError, match=f"the guide has {positions} positions, prompt and generation take {positions + 1}"):
        check_guide(guide, "flashdlm", positions + 1)
