"""Accuracy and speed of a model on a task."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...graphs.errors import DllmEdgeError
from ..decoding.settings import Settings
from ..generate import Generation, Model
from ..systems import find_system
from .intervals import wilson
from .task import Problem, Task


@dataclass(frozen=True)
class Evaluation:
    """A system on a task. `correct` and `generations` are in the order of the task's problems; seconds are of the clock."""

    task: str
    system: str
    settings: Settings
    correct: list[bool]
    generations: list[Generation]
    seconds: float
    batch: int = 1

    @property
    def samples(self) -> int:
        return len(self.correct)

    @property
    def accuracy(self) -> float:
        return sum(self.correct) / self.samples

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the accuracy."""
        return wilson(sum(self.correct), self.samples)

    @property
    def generated_tokens(self) -> int:
        return sum(len(generation.token_ids) for generation in self.generations)

    @property
    def forwards(self) -> int:
        return sum(generation.forwards for generation in self.generations)

    @property
    def refresh_forwards(self) -> int:
        return sum(generation.refresh_forwards for generation in self.generations)

    @property
    def tokens_per_forward(self) -> float:
        return self.generated_tokens / max(1, self.forwards)

    @property
    def tokens_per_second(self) -> float:
        return self.generated_tokens / self.seconds

    @property
    def engine_seconds(self) -> float:
        return sum(generation.engine_seconds for generation in self.generations)

    @property
    def host_seconds(self) -> float:
        return self.seconds - self.engine_seconds

    @property
    def peak_cache_bytes(self) -> int:
        return max(generation.peak_cache_bytes for generation in self.generations)

    @property
    def steady_cache_bytes(self) -> int:
        return max(generation.steady_cache_bytes for generation in self.generations)

    def to_json(self) -> dict[str, Any]:
        low, high = self.interval
        return {
            "system": self.system,
            "settings": self.settings.values_of(find_system(self.system).setting_names),
            "task": self.task,
            "samples": self.samples,
            "batch": self.batch,
            "accuracy": self.accuracy,
            "accuracy_low": low,
            "accuracy_high": high,
            "generated_tokens": self.generated_tokens,
            "forwards": self.forwards,
            "refresh_forwards": self.refresh_forwards,
            "tokens_per_forward": self.tokens_per_forward,
            "seconds": self.seconds,
            "tokens_per_second": self.tokens_per_second,
            "engine_seconds": self.engine_seconds,
            "host_seconds": self.host_seconds,
            "peak_cache_bytes": self.peak_cache_bytes,
            "steady_cache_bytes": self.steady_cache_bytes,
        }


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
    runs: Sequence[tuple[str, Mapping[str, Any]]],
    limit: int,
    progress: Callable[[float], None] | None = None,
    *,
    batch: int = 1,
    seed: int = 0,
) -> list[Evaluation]:
    """Several systems with their settings, in turn on each problem: what slows the machine for a while slows all alike."""
    if limit > task.size:
        raise DllmEdgeError(f"{task.name} has {task.size} problems, {limit} were asked for: give a lower limit")
    chosen = [model.settings(system, **settings) for system, settings in runs]
    problems = task.prompts(limit)
    prompts = [model.encode(problem.question) for problem in problems]
    generations: list[list[Generation]] = [[] for _ in runs]
    seconds = [0.0] * len(runs)
    for first in range(0, limit, batch):
        for index, (system, settings) in enumerate(runs):
            requests = [model.request(prompt, system, seed, **settings) for prompt in prompts[first : first + batch]]
            started = time.perf_counter()
            generations[index] += model.decode(requests, batch)
            seconds[index] += time.perf_counter() - started
            if progress:
                progress((first + batch * (index + 1) / len(runs)) / limit)
    return [
        Evaluation(task.name, system, used, scores(task, problems, done), done, elapsed, batch)
        for (system, _), used, done, elapsed in zip(runs, chosen, generations, seconds, strict=True)
    ]


def scores(task: Task, problems: Sequence[Problem], generations: Sequence[Generation]) -> list[bool]:
    """Which problems were solved."""
    return [task.score(problem, generation.text) for problem, generation in zip(problems, generations, strict=True)]
