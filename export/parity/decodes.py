"""What is decoded: which systems by which rules, at which lengths, and from which prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...graphs.errors import DllmEdgeError
from ...runtime.decoding.canvas import Canvas
from ...runtime.evaluation.task import find_task
from ...runtime.generate import Model
from ...runtime.scheduler.rehearsal import Use, check_served, rehearse
from ...runtime.scheduler.request import Request
from ...runtime.systems import fitting_systems
from ...runtime.systems.base import System
from ...runtime.unmasking.rule import RULES

PROMPTS = 3
LENGTH = 32
# Of a rehearsal: of one block alone, caches differ less.
BLOCK = 8
# One that all rules take.
CONFIDENCE = "maskgit_plus"

Decode = tuple[System, str]
"""A system, and the name of the rule that it unmasks by."""


def whole_decodes(model: Model) -> list[Decode]:
    """Return each fitting system with its own rule, and each rule left on the system that sends the fewest tokens by it."""
    own = [(system, str(model.settings(system.name).unmask)) for system in fitting_systems(model.config)]
    left = [rule for rule in RULES if rule not in {rule for _, rule in own}]
    return own + [(system, rule) for rule in left if (system := cheapest_system(model, rule))]


def cheapest_system(model: Model, rule: str | None = None) -> System | None:
    """Return the fitting system whose rehearsal sends the fewest tokens by `rule` (None: its own); None where none takes it."""
    systems = fitting_systems(model.config)
    taking = [system for system in systems if rule is None or system.rules is None or rule in system.rules]
    changes = {} if rule is None else {"unmask": rule}
    return min(taking, key=lambda system: _sent_tokens(model, system, changes), default=None)


def _sent_tokens(model: Model, system: System, changes: Mapping[str, str]) -> int:
    """Return the tokens of all forwards of a decode of several blocks, after a prompt as long as they are together."""
    use = default_use(model, system, gen_length=LENGTH, block_length=BLOCK, **changes)
    forwards = rehearse(model.config, use, min(2 * LENGTH, model.config.max_positions)).forwards
    return sum(forward.profile.batch * forward.profile.queries for forward in forwards)


def short_use(model: Model, system: System, **changes: Any) -> Use:
    """Return a system at `LENGTH` tokens, or as many of the bundle's blocks as fit in them."""
    block = min(int(model.settings(system.name).block_length) or LENGTH, LENGTH)
    lengths = {"gen_length": LENGTH - LENGTH % block, "block_length": block}
    return system, model.settings(system.name, confidence=CONFIDENCE, **lengths, **changes)


def default_use(model: Model, system: System, **changes: Any) -> Use:
    """Return a system at the bundle's own lengths: what an engine is built for, unless it is told otherwise."""
    return system, model.settings(system.name, confidence=CONFIDENCE, **changes)


def served_uses(model: Model, prompts: Sequence[Sequence[int]]) -> tuple[list[Use], list[str]]:
    """Return each decode at the shortest lengths that the engine serves for all prompts, and why there are none of others."""
    served: list[Use] = []
    refused: list[str] = []
    for system, rule in whole_decodes(model):
        choices = [use(model, system, unmask=rule) for use in (short_use, default_use)]
        problems = [_problem(model, prompts, choice) for choice in choices]
        if None in problems:
            served.append(choices[problems.index(None)])
        else:
            refused.append(f"{system.name}, {rule}: {problems[-1]}")
    return served, refused


def _problem(model: Model, prompts: Sequence[Sequence[int]], use: Use) -> str | None:
    system, settings = use
    canvases = (Canvas.from_prompt(prompt, settings.gen_length, model.config) for prompt in prompts)
    return unserved(model, [Request(canvas, system, settings) for canvas in canvases])


def unserved(model: Model, requests: Sequence[Request]) -> str | None:
    """Return why the model's engine does not serve one of the requests; None where it serves all."""
    try:
        check_served(model.engine, requests)
    except DllmEdgeError as error:
        return str(error)
    return None


def prompts(model: Model) -> Sequence[Sequence[int]]:
    """Return prompts of the bundle's task, or random tokens of different counts where it names none."""
    if task := model.bundle.task:
        return [model.encode(problem.question) for problem in find_task(task).prompts(PROMPTS)]
    generator = np.random.default_rng(0)
    allowed = np.setdiff1d(np.arange(model.config.vocab_size), model.bundle.manifest.forbidden)
    return [generator.choice(allowed, 6 + 5 * index).tolist() for index in range(PROMPTS)]
