"""A published case decoded by the runtime, and where the two part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.runtime.arrays import IntArray
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.trace import StepTrace
from dllm_edge.runtime.engines.base import Engine
from dllm_edge.runtime.scheduler.request import Finished, Request
from dllm_edge.runtime.systems import SYSTEMS

from ..runtime.recorder import finish
from .cases import SELECTIONS, Case, Changes, read_file

SYSTEMS_PAGE = Path(__file__).parents[2] / "docs" / "systems.md"


@dataclass(frozen=True)
class Asked:
    """What a case means here: a system, its settings, and the end-of-text token (None: that of the checkpoint)."""

    system: str
    settings: Mapping[str, Any]
    end: int | None = None


@dataclass(frozen=True)
class Published:
    """A checkpoint's bundle on an engine."""

    bundle: Bundle
    engine: Engine

    def decode(self, case: Case, asked: Asked) -> Finished:
        """Return the end of the case's decode, alone."""
        config: ModelConfig = self.bundle.config
        if asked.end is not None:
            config = replace(config, eos_token_ids=(asked.end,))
        system = SYSTEMS[asked.system]
        settings = Settings(**{**system.defaults, **asked.settings})
        canvas = Canvas.from_prompt(case.prompt, settings.gen_length, config)
        return finish(self.engine, [Request(canvas, system, settings, trace=True)])[0]


def hold(case: Case, end: Finished, departures: Mapping[int, str]) -> None:
    """Fail where a decode differs from its case, or does not though `departures` has a reason for that case's number."""
    found, reason = difference(case, end), departures.get(case.number)
    if reason is None:
        assert found is None, found
    else:
        assert found is not None, f"{case} is equal, so it is no departure: {reason}"


def hold_documented(system: str, departures: Mapping[int, str]) -> None:
    """Fail unless docs/systems.md says how many of a system's cases are equal, and why each of the others is not."""
    selection = read_file(SELECTIONS, system)
    total = selection["total"]
    start = f"| {selection['system']} | {total - len(departures)} of {total} |"
    lines = [line for line in SYSTEMS_PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(start)]
    assert lines, f"docs/systems.md: no line begins with '{start}'"
    assert all(reason in lines[0] for reason in departures.values()), f"docs/systems.md: a reason is missing in '{lines[0]}'"


def difference(case: Case, end: Finished) -> str | None:
    """Return in one line the first forward that changed something else, or what else differs; None where all is equal.

    Compared are the positions that each forward changed, their ids where the case has them, the final ids and the number of
    forwards.
    """
    ours = changes_of(end)
    logged = ours if case.steps_sha256 is None else ours[: len(case.changes)]
    for forward, (theirs, own) in enumerate(zip_longest(case.changes, logged)):
        if theirs is None or own is None or not _equal(theirs, own):
            return f"{case}: forward {forward} changed {_shown(own)} here, {_shown(theirs)} in the released code"
    if end.forwards != case.forwards:
        return f"{case}: {end.forwards} forwards here, {case.forwards} in the released code"
    if case.steps_sha256 not in (None, _digest(ours)):
        return f"{case}: a forward after the {len(logged)} that are logged changed something else: see the full file"
    return _different_ids(case, end.request.canvas.tokens.tolist())


def changes_of(end: Finished) -> list[Changes]:
    """Return what each forward of a decode changed on its canvas, by position: what it wrote and took back is no change."""
    canvas = end.request.canvas
    masked = canvas.tokens.copy()
    masked[canvas.generated_positions] = canvas.mask_token_id
    return [_changed(masked, step, canvas.mask_token_id) for step in end.trace]


def _changed(tokens: IntArray, step: StepTrace, mask_token_id: int) -> Changes:
    """Apply a forward's changes to `tokens` and return where these are others than before."""
    before = tokens.copy()
    for change in step.changes:
        change.applied_to(tokens, mask_token_id)
    return {int(position): int(tokens[position]) for position in (tokens != before).nonzero()[0]}


def _digest(changes: list[Changes]) -> str:
    """Return the sha256 of compact JSON of `[[positions, ids], ...]`."""
    steps = [[list(step), list(step.values())] for step in changes]
    return hashlib.sha256(json.dumps(steps, separators=(",", ":")).encode()).hexdigest()


def _equal(theirs: Changes, own: Changes) -> bool:
    return theirs.keys() == own.keys() and all(token in (None, own[position]) for position, token in theirs.items())


def _shown(changes: Changes | None) -> str:
    if changes is None:
        return "nothing, for there was none"
    return ", ".join(f"{position}" if token is None else f"{position}:={token}" for position, token in sorted(changes.items()))


def _different_ids(case: Case, tokens: Sequence[int]) -> str | None:
    for position, (theirs, own) in enumerate(zip_longest(case.ids, tokens)):
        if theirs != own:
            return f"{case}: position {position} is {own} in the end here, {theirs} in the released code"
    return None
