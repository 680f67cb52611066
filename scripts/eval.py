"""`dllm-edge eval`: accuracy and speed of one system on a task."""

from __future__ import annotations

from typing import Any

from ..demo.evaluate import evaluate, find_task
from ..runtime.generate import Model
from .output import print_json, progress, screen
from .tables import evaluation_table


def evaluate_system(
    model: Model, task: str, system: str, limit: int, batch: int, seed: int, settings: dict[str, Any], as_json: bool
) -> None:
    with progress() as report:
        evaluation = evaluate(
            model,
            find_task(task),
            system,
            limit,
            lambda share: report(system, share),
            batch=batch,
            seed=seed,
            **settings,
        )
    if as_json:
        print_json(evaluation.to_json())
        return
    title = f"{task}, {limit} problems, {evaluation.settings.gen_length} tokens"
    screen().print(evaluation_table([evaluation], title))
