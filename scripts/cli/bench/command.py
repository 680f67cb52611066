"""`dllm-edge bench`: accuracy and speed of several systems on the same problems, as the README's table has them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ....runtime.evaluation.conditions import conditions_of
from ....runtime.evaluation.journal import Journal
from ....runtime.generate import Model
from ..terminal.bundles import open_model
from ..terminal.evaluation_table import EvaluationTable, Row, markdown
from ..terminal.evaluations import task_of, title_of
from ..terminal.lists import parse_numbers
from ..terminal.options import (
    BatchOption,
    BundleArgument,
    EngineOptions,
    GuideOption,
    JsonOption,
    LimitOption,
    SeedOption,
    TaskOption,
    ThreadsOption,
)
from ..terminal.output import print_json, screen
from ..terminal.progress import progress_bars
from .compositions import EXAMPLE, default_compositions, parse_compositions
from .measure import Measured, Problems, baseline_of, by_length, measure
from .plot import check_plot, write_plot

JOURNAL = "reports/bench.jsonl"


def command(
    *,
    bundle: BundleArgument,
    systems: Annotated[
        str | None,
        typer.Option(
            help=f"Systems with settings of their own, as {EXAMPLE}, separated by commas.",
            show_default="all that fit the model, and combinations",
        ),
    ] = None,
    gen_length: Annotated[
        str | None, typer.Option(help="Tokens to generate, separated by commas.", show_default="what the bundle says")
    ] = None,
    task: TaskOption = None,
    limit: LimitOption = 20,
    batch: BatchOption = 1,
    seed: SeedOption = 0,
    guide: GuideOption = None,
    sweep: Annotated[
        bool, typer.Option("--sweep/--no-sweep", help="Also decode with other values of what trades accuracy for speed.")
    ] = True,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw accuracy against speed.", show_default=False)
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what earlier benches of the bundle have decoded.")] = False,
    engine: EngineOptions,
    threads: ThreadsOption = 0,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables in Markdown.")] = False,
    as_json: JsonOption = False,
) -> None:
    lengths = (None,) if gen_length is None else parse_numbers(gen_length, "--gen-length", least=1)
    asked = None if systems is None else parse_compositions(systems)
    if plot is not None:
        check_plot(plot)
    model = open_model(bundle, engine, threads, guide)
    problems = Problems(task_of(model, task), limit, batch, seed)
    compositions = asked or default_compositions(model.config, model.guide is not None)
    journal = Journal(model.bundle.path / JOURNAL, conditions_of(model, threads), fresh)
    with progress_bars() as progress:
        told = partial(progress, problems.task.name)
        measured = measure(model, compositions, lengths, problems, sweep, journal, told)
    show(model, measured, as_markdown, as_json)
    if plot is not None:
        write_plot(plot, measured)


def show(model: Model, measured: Sequence[Measured], as_markdown: bool, as_json: bool) -> None:
    """Print a table for each length, or one JSON object."""
    if as_json:
        print_json({"bundle": str(model.bundle.path), "systems": [one.to_json() for one in measured]})
        return
    for of_length in by_length(measured):
        title = f"{title_of(of_length[0].evaluation)}; speed over {baseline_of(of_length)}"
        rows = [Row(one.composition.label, one.evaluation, one.speed, one.aup, one.claim) for one in of_length]
        if as_markdown:
            screen().print(Text(f"{title}:\n\n{markdown(rows)}\n"), soft_wrap=True)
        else:
            screen().print(EvaluationTable(rows, title))
