"""`dllm-edge bench`: accuracy and speed of several systems on the same problems."""

from __future__ import annotations

from .terminal.bundles import open_model
from .terminal.evaluations import evaluate_systems, print_evaluations
from .terminal.options import (
    BatchOption,
    BundleArgument,
    EngineOptions,
    GenLengthOption,
    GuideOption,
    JsonOption,
    LimitOption,
    SeedOption,
    SystemsOption,
    TaskOption,
    ThreadsOption,
    parse_settings,
    parse_systems,
)
from .terminal.output import print_json


def command(
    *,
    bundle: BundleArgument,
    systems: SystemsOption = "vanilla,fast-dllm-prefix,fast-dllm-dual,sparse-dllm",
    gen_length: GenLengthOption = None,
    task: TaskOption = None,
    limit: LimitOption = 20,
    batch: BatchOption = 1,
    seed: SeedOption = 0,
    guide: GuideOption = None,
    engine: EngineOptions,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    names, settings = parse_systems(systems), parse_settings(None, gen_length)
    model = open_model(bundle, engine, threads, guide)
    evaluations = evaluate_systems(model, names, settings, task, limit, batch, seed)
    if as_json:
        print_json({"bundle": str(model.bundle.path), "systems": [evaluation.to_json() for evaluation in evaluations]})
    else:
        print_evaluations(evaluations)
