"""Decodes of one prompt by the plain-torch reference and by the runtime, held against each other. Needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.changes import Edit, Remask
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.engines.base import Engine
from dllm_edge.runtime.scheduler.request import Finished, Request
from dllm_edge.runtime.systems import SYSTEMS

from ...reference import branches, d3llm, decoding, free_cache, newer_caches, systems
from ...reference.model import Model
from ...reference.rules import Candidate, Choice
from ..recorder import finish

DECODERS = {
    "vanilla": systems.vanilla,
    "fast-dllm-prefix": systems.fast_dllm_prefix,
    "fast-dllm-dual": systems.fast_dllm_dual,
    "sparse-dllm": systems.sparse_dllm,
    "streaming-dllm": systems.streaming_dllm,
    "free-cache": free_cache.free_cache,
    "dkv-cache": newer_caches.dkv_cache,
    "vicinity": newer_caches.vicinity,
}
OWN_RULE = {"saber": systems.saber, "klass": systems.klass, "conv": systems.conv, "wino": systems.wino}
"""Those that do not decode by every rule."""

SEVERAL = {"ssd": branches.ssd, "lopa": branches.lopa, "d3llm": d3llm.d3llm}
"""Those with several versions of the canvas, or several blocks, in flight."""

# Settings that a system differs from the others by, where a test has none for them.
OWN: dict[str, dict[str, Any]] = {
    "streaming-dllm": {"window": 4, "retention": 1.0},
    "dkv-cache": {"refresh": 5},
    "vicinity": {"window": 3},
}

# Of logits and confidences: what float32 may turn round (DESIGN, section 6).
ROUNDING = 1e-4


@dataclass(frozen=True)
class Pair:
    """A model on an engine and in the reference, with the ids that neither may choose."""

    engine: Engine
    model: Model
    config: ModelConfig
    banned: tuple[int, ...]

    def ending_at(self, token: int) -> Pair:
        """The same with another end of text."""
        model = replace(self.model, config=replace(self.model.config, eos_tokens=(token,)))
        return replace(self, model=model, config=replace(self.config, eos_token_ids=(token,)))

    def reference(self, system: str, prompt: list[int], **settings: Any) -> decoding.Decoded:
        """Settings by the runtime's names; 0 for `block_length` means one block, as it does there."""
        known = {**OWN.get(system, {}), **settings, "block_length": settings["block_length"] or settings["gen_length"]}
        return {**DECODERS, **OWN_RULE, **SEVERAL}[system](self.model, prompt, decoding.Settings(banned=self.banned, **known))

    def runtime(self, system: str, prompts: Sequence[list[int]], **settings: Any) -> list[Finished]:
        """All prompts in one batch."""
        chosen = Settings(**{**OWN.get(system, {}), **settings})
        canvases = [Canvas.from_prompt(prompt, chosen.gen_length, self.config) for prompt in prompts]
        return finish(self.engine, [Request(canvas, SYSTEMS[system], chosen, trace=True) for canvas in canvases])


def commits_of(decoded: decoding.Decoded) -> list[list[tuple[int, int]]]:
    """Positions and tokens that each forward committed."""
    places: list[list[tuple[int, int]]] = [[] for _ in range(decoded.forwards)]
    for commit in decoded.commits:
        places[commit.forward].append((commit.position, commit.token))
    return [sorted(place) for place in places]


def commits_in(end: Finished) -> list[list[tuple[int, int]]]:
    def pairs(part: str) -> list[list[int]]:
        return [[int(value) for commit in step.commits for value in getattr(commit, part)] for step in end.trace]

    return [sorted(zip(*both, strict=True)) for both in zip(pairs("positions"), pairs("ids"), strict=True)]


def returned_in(end: Finished) -> list[list[int]]:
    """Positions that each forward took back to the mask."""
    remasks = [[change for change in step.changes if isinstance(change, Remask)] for step in end.trace]
    return [[int(position) for remask in step for position in remask.positions] for step in remasks]


def edited_in(end: Finished) -> list[list[tuple[int, int]]]:
    """Positions and tokens that each forward wrote over others."""
    edits = [[change for change in step.changes if isinstance(change, Edit)] for step in end.trace]
    return [[pair for edit in step for pair in zip(edit.positions.tolist(), edit.ids.tolist(), strict=True)] for step in edits]


def first_difference(decoded: decoding.Decoded, end: Finished) -> int | None:
    """The first forward at which they commit something else, or None where all is equal."""
    edits = [decoded.edits.get(forward, []) for forward in range(decoded.forwards)]
    expected = list(zip(commits_of(decoded), decoded.returned, edits, strict=True))
    actual = list(zip(commits_in(end), returned_in(end), edited_in(end), strict=True))
    for forward, (here, there) in enumerate(zip(expected, actual, strict=False)):
        if here != there:
            return forward
    if len(expected) != len(actual):
        return min(len(expected), len(actual))
    assert end.request.canvas.tokens.tolist() == decoded.tokens
    assert end.forwards == decoded.forwards
    return None


@dataclass
class Following(decoding.Run):
    """A reference run that commits what `script`, a dictionary a forward, says, once that is within rounding of its own choice.

    So every forward of a decode is checked, not only those up to the first that rounding decides.
    """

    script: list[dict[int, int]] = field(default_factory=list)
    rounded: int = 0

    def _commit(self, block: decoding.Block, options: list[Candidate], choice: Choice, returned: Sequence[int] = ()) -> None:
        wanted = self.script[self.forwards - 1]
        places = {option.position: index for index, option in enumerate(options)}
        taken, own = {places[position] for position in wanted}, set(choice.indices)
        if taken != own:
            assert self.settings.unmask in ("threshold", "dynamic-threshold", "factor", "frechet") or len(taken) == len(own)
            assert all(self._close(block, options, own, index) for index in taken ^ own), (block, wanted, choice)
        swapped = [option for option in options if wanted.get(option.position, option.token) != option.token]
        assert all(option.margin < ROUNDING for option in swapped), swapped
        self.rounded += taken != own or bool(swapped)
        forced = [replace(option, token=wanted.get(option.position, option.token)) for option in options]
        super()._commit(block, forced, Choice(sorted(taken), choice.slack), returned)

    def _close(self, block: decoding.Block, options: list[Candidate], own: set[int], index: int) -> bool:
        """Whether a confidence is at the edge: of what is chosen, of what is not, or of what the rule asks for."""
        chosen = [option.confidence for place, option in enumerate(options) if place in own]
        others = [option.confidence for place, option in enumerate(options) if place not in own]
        edges = [*([min(chosen)] if chosen else []), *([max(others)] if others else []), self.least(block)]
        edges += [1 - self.settings.factor / (count + 1) for count in range(2, len(options) + 1)]
        if self.settings.unmask == "frechet":
            # The n-th is at the edge where 1 - G_n, in which it counts twice, is 1 - margin.
            order = sorted((option.confidence for option in options), reverse=True)
            edges += [1 - (1 - self.settings.frechet_margin - sum(1 - c for c in order[:n])) / 2 for n in range(1, len(order))]
        return min(abs(options[index].confidence - edge) for edge in edges) < ROUNDING


def follow(pair: Pair, system: str, prompt: list[int], end: Finished, settings: dict[str, Any]) -> int:
    """Check a runtime's decode forward by forward; returns how many of them rounding decided."""
    runs: list[Following] = []

    def following(model: Model, prompt: list[int], chosen: decoding.Settings) -> Following:
        runs.append(Following(model, prompt, chosen, script=[dict(pairs) for pairs in commits_in(end)]))
        return runs[0]

    with pytest.MonkeyPatch.context() as patch:
        for module in (systems, free_cache, newer_caches):
            patch.setattr(module, "Run", following)
        decoded = pair.reference(system, prompt, **settings)
    assert first_difference(decoded, end) is None
    return runs[0].rounded
