"""`dllm-edge eval`: accuracy and speed of one system on a task."""

from __future__ import annotations

from ...runtime.systems import find_system
from .terminal.bundles import open_model
from .terminal.evaluations import evaluate_system, print_evaluation
from .terminal.options import (
    BatchOption,
    BundleArgument,
    EngineOptions,
    GenLengthOption,
    GuideOption,
    JsonOption,
    LimitOption,
    SeedOption,
    SetOption,
    SystemOption,
    TaskOption,
    ThreadsOption,
    parse_settings,
)
from .terminal.output import print_json


def command(
    *,
    bundle: BundleArgument,
    task: TaskOption = None,
    system: SystemOption = "vanilla",
    gen_length: GenLengthOption = None,
    limit: LimitOption = 100,
    batch: BatchOption = 1,
    assignments: SetOption = None,
    seed: SeedOption = 0,
    guide: GuideOption = None,
    engine: EngineOptions,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    settings = parse_settings(assignments, gen_length)
    find_system(system)  # an unknown one is refused before the demo is exported
    model = open_model(bundle, engine, threads, guide)
    evaluation = evaluate_system(model, system, settings, task, limit, batch, seed)
    if as_json:
        print_json(evaluation.to_json())
    else:
        print_evaluation(evaluation)
