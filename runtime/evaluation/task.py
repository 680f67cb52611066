"""Tasks: questions with known answers, registered by whoever has some."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points

from ...graphs.errors import unknown

ENTRY_POINTS = "dllm_edge.tasks"
"""The group of a package's entry points that name its tasks: each is a `Task`."""


@dataclass(frozen=True)
class Problem:
    """A question, its worked solution, and the answer that solves it."""

    question: str
    solution: str
    answer: int | str


@dataclass(frozen=True)
class Task:
    """Problems of one kind: `prompts(count)` gives the first `count` of `size` of them, always the same."""

    name: str
    summary: str
    size: int
    prompts: Callable[[int], list[Problem]]
    score: Callable[[Problem, str], bool]
    """Whether a generated text solves the problem."""


@cache
def tasks() -> dict[str, Task]:
    """All tasks of the installed packages, by name."""
    found: list[Task] = [entry.load() for entry in entry_points(group=ENTRY_POINTS)]
    return {task.name: task for task in found}


def find_task(name: str) -> Task:
    """Return the task of that name; raises `DllmEdgeError` for an unknown one, listing the known."""
    if name not in tasks():
        raise unknown("task", name, tasks() or ["none, no package brings a task"])
    return tasks()[name]
