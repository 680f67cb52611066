"""`dllm-edge demo`: the main job on the embedded model: export, validate, decode with four systems side by side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ...runtime.evaluation.evaluate import evaluate_together
from ...runtime.evaluation.evaluation import Evaluation
from ...runtime.evaluation.task import Problem, find_task
from ...runtime.generate import load
from .terminal import bundles
from .terminal.evaluation_table import EvaluationTable
from .terminal.evaluations import compared
from .terminal.options import JsonOption
from .terminal.output import print_json, screen, verdict
from .terminal.progress import progress_bars
from .terminal.validation import print_report, require_kept, validate_against_torch

TASK = find_task("arithmetic")
QUESTIONS = 5
VALIDATED_QUESTIONS = 20
TABLE_TITLE = (
    f"the {QUESTIONS} held-out questions above, the first of the {VALIDATED_QUESTIONS} that the task level scored; "
    "speed as a ratio to vanilla's"
)
# Each with the rule that its paper is known for; Sparse-dLLM's own is the quota, which is as slow as vanilla's.
SYSTEMS = {"vanilla": "quota", "fast-dllm-prefix": "threshold", "fast-dllm-dual": "threshold", "sparse-dllm": "threshold"}


def command(
    *,
    fresh: Annotated[bool, typer.Option("--fresh", help="Export again, even if the demo's bundle is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    path = bundles.demo_bundle(fresh)
    report = validate_against_torch(path, bundles.CHECKPOINT, None, VALIDATED_QUESTIONS)
    if not as_json:
        print_report(report, as_json=False)
    evaluations, problems = _decode(path), TASK.prompts(QUESTIONS)
    if as_json:
        print_json({"bundle": str(path), "validation": report.to_json(), **_data(problems, evaluations)})
        require_kept(report)
    else:
        _print_answers(problems, evaluations)
        screen().print()
        screen().print(EvaluationTable(compared(evaluations), TABLE_TITLE))
    if not report.passed:
        raise typer.Exit(1)


def _decode(bundle: Path) -> list[Evaluation]:
    runs = [(system, {"unmask": rule}) for system, rule in SYSTEMS.items()]
    with progress_bars() as progress:
        return evaluate_together(load(bundle), TASK, runs, QUESTIONS, partial(progress, "decode"))


def _data(problems: Sequence[Problem], evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    questions = [
        {"question": problem.question, "answer": problem.answer, "decodes": _decodes(index, evaluations)}
        for index, problem in enumerate(problems)
    ]
    return {"systems": [evaluation.to_json() for evaluation in evaluations], "questions": questions}


def _decodes(index: int, evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    return [
        {
            "system": evaluation.system,
            "text": evaluation.outcomes[index].text,
            "right": evaluation.correct[index],
            "tokens_per_forward": evaluation.outcomes[index].tokens_per_forward,
            "seconds": evaluation.outcomes[index].seconds,
        }
        for evaluation in evaluations
    ]


def _print_answers(problems: Sequence[Problem], evaluations: Sequence[Evaluation]) -> None:
    """Print each question, and below it the answer of every system."""
    console = screen()
    for index, problem in enumerate(problems):
        console.print()
        console.print(Text(problem.question, style="bold"), Text(f"({problem.answer})", style="dim"))
        table = Table.grid(padding=(0, 2))
        for width in (16, 34):
            table.add_column(width=width)
        for width in (12, 10):
            table.add_column(width=width, justify="right")
        for evaluation in evaluations:
            table.add_row(*_answer(evaluation, index))
        console.print(table)


def _answer(evaluation: Evaluation, index: int) -> tuple[RenderableType, ...]:
    """Return system, text, whether its answer (the last number) is right, and tokens per forward."""
    outcome = evaluation.outcomes[index]
    return (
        evaluation.system,
        " ".join(outcome.text.split()),
        verdict(evaluation.correct[index], "answer right", "answer wrong"),
        Text(f"{outcome.tokens_per_forward:.1f} t/fwd", style="dim"),
    )
