"""What the trajectory level decodes: which systems with which rules, and from which prompts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...runtime.decoding.settings import Settings
from ...runtime.evaluation.task import find_task
from ...runtime.generate import Model
from ...runtime.systems import SYSTEMS

PROMPTS = 3
LENGTH = 32
# What a whole decode is compared with: every system, and every kind of rule once.
DECODES = (
    ("vanilla", "quota"),
    ("vanilla", "factor"),
    ("fast-dllm-prefix", "threshold"),
    ("fast-dllm-dual", "threshold"),
    ("sparse-dllm", "quota"),
    ("sparse-dllm", "threshold"),
)

Run = tuple[str, Settings]


def short_runs(model: Model) -> list[Run]:
    """Each decode at `LENGTH` tokens, or the blocks of the bundle's that fit in them."""
    block = min(model.settings("vanilla").block_length or LENGTH, LENGTH)
    return _runs(model, gen_length=LENGTH - LENGTH % block, block_length=block)


def default_runs(model: Model) -> list[Run]:
    """Each decode at the bundle's own lengths: what an engine is built for, unless it is told otherwise."""
    return _runs(model)


def _runs(model: Model, **lengths: int) -> list[Run]:
    fitting = [one for one in DECODES if model.config.attention in SYSTEMS[one[0]].attention]
    return [(system, model.settings(system, unmask=unmask, confidence="maskgit_plus", **lengths)) for system, unmask in fitting]


def prompts(model: Model) -> Sequence[Sequence[int]]:
    """Prompts of the bundle's task, or random tokens of different counts where it names none."""
    if task := model.bundle.task:
        return [model.encode(problem.question) for problem in find_task(task).prompts(PROMPTS)]
    generator = np.random.default_rng(0)
    allowed = np.setdiff1d(np.arange(model.config.vocab_size), model.bundle.manifest.forbidden)
    return [generator.choice(allowed, 6 + 5 * index).tolist() for index in range(PROMPTS)]
