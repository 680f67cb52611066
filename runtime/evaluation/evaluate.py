"""Decoding a task's problems: accuracy and speed of a model with one system, or with several on the same problems."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...graphs.errors import DllmEdgeError
from ..decoding.settings import Settings
from ..generate import Model
from ..scheduler.rehearsal import check_served
from ..scheduler.request import Request
from ..systems import find_system
from .evaluation import Evaluation
from .journal import Journal
from .outcome import Outcome
from .task import Problem, Task

Run = tuple[str, Mapping[str, Any]]
"""A system's name, and the settings that are not its own defaults."""


def evaluate(
    model: Model,
    task: Task,
    system: str,
    limit: int,
    progress: Callable[[float], None] | None = None,
    *,
    batch: int = 1,
    seed: int = 0,
    **settings: Any,
) -> Evaluation:
    """Decode the first `limit` problems of a task, `batch` at a time; `progress` is told the share that is done."""
    (evaluation,) = evaluate_together(model, task, [(system, settings)], limit, progress, batch=batch, seed=seed)
    return evaluation


def evaluate_together(
    model: Model,
    task: Task,
    runs: Sequence[Run],
    limit: int,
    progress: Callable[[float], None] | None = None,
    *,
    batch: int = 1,
    seed: int = 0,
    journal: Journal | None = None,
) -> list[Evaluation]:
    """Several systems with their settings, in turn on each problem: what slows the machine for a while slows all alike.

    What `journal` has is not decoded again, and what is decoded is kept there at once. Settings that the model or its engine
    refuses are refused before anything is decoded.
    """
    if limit > task.size:
        raise DllmEdgeError(f"{task.name} has {task.size} problems, {limit} were asked for: give a lower limit")
    problems, journal = task.prompts(limit), journal or Journal()
    decodes = [_Decodes(model, run, model.settings(run[0], **run[1]), batch, seed) for run in runs]
    for each in decodes:
        each.recall(journal, task, problems)
    groups = [slice(first, first + batch) for first in range(0, limit, batch)]
    left = [(group, each) for group in groups for each in decodes if None in each.outcomes[group]]
    prompts = [model.encode(problem.question) for problem in problems]
    for each in decodes:
        check_served(model.engine, [each.request(max(prompts, key=len))])
    total, tell = len(groups) * len(decodes), progress or (lambda _share: None)
    tell(1 - len(left) / total)
    for done, (group, each) in enumerate(left, start=1):
        each.decode(prompts, group, journal)
        tell(1 - (len(left) - done) / total)
    return [each.evaluation(task, problems) for each in decodes]


@dataclass(eq=False)
class _Decodes:
    """One run's decodes of a task's problems; of each its key in the journal, and its outcome once there is one."""

    model: Model
    run: Run
    settings: Settings
    batch: int
    seed: int

    def recall(self, journal: Journal, task: Task, problems: Sequence[Problem]) -> None:
        """Take the outcomes that the journal has."""
        settings = self.settings.values_of(find_system(self.run[0]).setting_names)
        same = {"task": task.name, "system": self.run[0], "settings": settings, "batch": self.batch, "seed": self.seed}
        self.keys = [journal.key({**same, "question": problem.question}) for problem in problems]
        self.outcomes = [journal.outcomes.get(key) for key in self.keys]

    def request(self, prompt: Sequence[int]) -> Request:
        return self.model.request(prompt, self.run[0], self.seed, **self.run[1])

    def decode(self, prompts: Sequence[Sequence[int]], group: slice, journal: Journal) -> None:
        """Decode the problems of a group together, and keep what came of each."""
        requests = [self.request(prompt) for prompt in prompts[group]]
        started = time.perf_counter()
        generations = self.model.decode(requests, self.batch)
        seconds = (time.perf_counter() - started) / len(requests)
        outcomes = [Outcome.of(generation, seconds) for generation in generations]
        journal.keep(zip(self.keys[group], outcomes, strict=True))
        self.outcomes[group] = outcomes

    def evaluation(self, task: Task, problems: Sequence[Problem]) -> Evaluation:
        outcomes = [outcome for outcome in self.outcomes if outcome is not None]
        return Evaluation(task.name, self.run[0], self.settings, scores(task, problems, outcomes), outcomes, self.batch)


def scores(task: Task, problems: Sequence[Problem], outcomes: Sequence[Outcome]) -> list[bool]:
    """Which problems were solved."""
    return [task.score(problem, outcome.text) for problem, outcome in zip(problems, outcomes, strict=True)]
