"""Coroutines of systems to come, run on the tiny model: each prompt alone, and all of them as a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.runtime.engines.base import Engine
from dllm_edge.runtime.scheduler.request import Finished, Request
from dllm_edge.runtime.scheduler.scheduler import Scheduler
from dllm_edge.runtime.systems.base import Decode, System

from ..numpy_engine import ENDLESS, NumpyEngine
from ..scripted import PROMPTS, request

Engines = Engine | Mapping[str, Engine]


def system(decode: Decode) -> System:
    return System("needs", "", "", "2025-01", decode, ("bidirectional", "block-causal", "causal"))


def run(engines: Engines, asked: list[Request]) -> list[Finished]:
    """Run requests together; their ends in the requests' order."""
    ends = {id(event.request): event for event in Scheduler(engines).run(asked) if isinstance(event, Finished)}
    return [ends[id(each)] for each in asked]


def decoded(
    decode: Decode | str, config: ModelConfig = ENDLESS, engines: Engines | None = None, **settings: Any
) -> list[tuple[Request, Finished]]:
    """Decode all prompts, each alone and all as a batch, to equal tokens and ends; return those of the batch."""
    engines = NumpyEngine(config) if engines is None else engines
    chosen = decode if isinstance(decode, str) else system(decode)
    together = [request(chosen, prompt, config, **settings) for prompt in PROMPTS]
    ends = run(engines, together)
    for mine, end, prompt in zip(together, ends, PROMPTS, strict=True):
        alone = request(chosen, prompt, config, **settings)
        (own,) = run(engines, [alone])
        assert mine.canvas.tokens.tolist() == alone.canvas.tokens.tolist()
        assert (end.forwards, end.reason) == (own.forwards, own.reason)
    return list(zip(together, ends, strict=True))


def tokens(runs: list[tuple[Request, Finished]]) -> list[list[int]]:
    return [each.canvas.tokens.tolist() for each, _ in runs]


def commits(runs: list[tuple[Request, Finished]]) -> list[list[tuple[list[int], list[int]]]]:
    """The positions and ids of every commit of every run, in order."""
    return [[(one.positions.tolist(), one.ids.tolist()) for one in each.canvas.commits] for each, _ in runs]
