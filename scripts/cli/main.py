"""The command line. Each command imports what it needs when it runs, so that starting stays quick."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from .build_command import build
from .launch import launch, new_app
from .options import (
    BatchOption,
    BundleArgument,
    BundleOutput,
    CheckpointArgument,
    ComputeOption,
    DeviceOption,
    DtypeOption,
    EmbeddingWeightsOption,
    EngineOption,
    FlavourOption,
    GenLengthOption,
    GroupOption,
    HeadWeightsOption,
    JsonOption,
    LevelOption,
    LimitOption,
    LinkOption,
    LoraOption,
    OverwriteOption,
    SeedOption,
    SetOption,
    SystemOption,
    SystemsOption,
    TaskOption,
    ThreadsOption,
    WeightsOption,
    parse_settings,
    parse_systems,
)
from .plan_command import plan

app = new_app(name="dllm-edge", help="Diffusion language models as plain ONNX graphs, decoded by a light Python runtime.")


@app.command()
def demo(
    fresh: Annotated[bool, typer.Option("--fresh", help="Export again, even if the demo's bundle is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Export, validate and decode the embedded model: the main job from start to end."""
    from .demo import run_demo

    if not run_demo(fresh, as_json):
        raise typer.Exit(1)


@app.command()
def export(
    checkpoint: CheckpointArgument,
    bundle: BundleOutput,
    flavour: FlavourOption = "both",
    dtype: DtypeOption = "auto",
    weights: WeightsOption = "plain",
    group: GroupOption = 32,
    head_weights: HeadWeightsOption = "plain",
    embedding_weights: EmbeddingWeightsOption = "plain",
    lora: LoraOption = None,
    link: LinkOption = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Export a checkpoint to a bundle: step graphs, weights, tokenizer."""
    from .export import export_checkpoint

    export_checkpoint(
        checkpoint,
        bundle,
        as_json,
        flavour=flavour,
        dtype=dtype,
        weights=weights,
        group=group,
        head_weights=head_weights,
        embedding_weights=embedding_weights,
        lora=lora,
        link=link,
        overwrite=overwrite,
    )


app.command()(build)


@app.command()
def validate(
    bundle: BundleArgument,
    level: LevelOption = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Compare with a checkpoint's weights instead of the bundle's own.", show_default=False)
    ] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Problems of the task level.", show_default=False)] = None,
    engine: EngineOption = "onnxruntime",
    device: DeviceOption = None,
    compute: ComputeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a bundle against torch, or an engine on --device cuda or in half precision against ONNX Runtime on the CPU."""
    from . import bundles
    from .validate import is_reference, validate_bundle, validate_on

    path = bundles.bundle_path(bundle)
    if is_reference(engine, device, compute):
        source = bundles.CHECKPOINT if bundle == bundles.DEMO and checkpoint is None else checkpoint
        passed = validate_bundle(path, source, level, as_json, samples)
    else:
        passed = validate_on(path, engine, device, compute, checkpoint, level, as_json, samples)
    if not passed:
        raise typer.Exit(1)


@app.command()
def run(
    bundle: BundleArgument,
    prompt: Annotated[str, typer.Option(help="What to answer.", show_default=False)],
    system: SystemOption = "vanilla",
    gen_length: GenLengthOption = None,
    assignments: SetOption = None,
    seed: SeedOption = 0,
    chat: Annotated[bool, typer.Option("--chat/--no-chat", help="Put the prompt through the bundle's chat template.")] = True,
    trace: Annotated[bool, typer.Option("--trace", help="With --json: every step, what was sent and committed.")] = False,
    engine: EngineOption = "onnxruntime",
    device: DeviceOption = None,
    compute: ComputeOption = None,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Decode one prompt; in a terminal the canvas fills in live."""
    from .bundles import open_model
    from .run import run_prompt

    settings = parse_settings(assignments, gen_length)
    model = open_model(bundle, engine, device, threads, compute)
    run_prompt(model, prompt, system, settings, seed=seed, chat=chat, trace=trace, as_json=as_json)


@app.command("eval")
def evaluate(
    bundle: BundleArgument,
    task: TaskOption = None,
    system: SystemOption = "vanilla",
    gen_length: GenLengthOption = None,
    limit: LimitOption = 100,
    batch: BatchOption = 1,
    assignments: SetOption = None,
    seed: SeedOption = 0,
    engine: EngineOption = "onnxruntime",
    device: DeviceOption = None,
    compute: ComputeOption = None,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Accuracy and speed of one system on a task."""
    from .bundles import open_model
    from .eval import evaluate_system

    settings = parse_settings(assignments, gen_length)
    evaluate_system(open_model(bundle, engine, device, threads, compute), task, system, limit, batch, seed, settings, as_json)


@app.command()
def bench(
    bundle: BundleArgument,
    systems: SystemsOption = "vanilla,fast-dllm-prefix,fast-dllm-dual,sparse-dllm",
    gen_length: GenLengthOption = None,
    task: TaskOption = None,
    limit: LimitOption = 20,
    batch: BatchOption = 1,
    seed: SeedOption = 0,
    engine: EngineOption = "onnxruntime",
    device: DeviceOption = None,
    compute: ComputeOption = None,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Accuracy and speed of several systems on the same problems."""
    from .bundles import open_model
    from .eval import compare_systems

    names, settings = parse_systems(systems), parse_settings(None, gen_length)
    compare_systems(open_model(bundle, engine, device, threads, compute), task, names, limit, batch, seed, settings, as_json)


@app.command()
def info(
    bundle: BundleArgument,
    verify: Annotated[bool, typer.Option("--verify", help="Read the weights too and check their hashes.")] = False,
    as_json: JsonOption = False,
) -> None:
    """What a bundle holds, and whether it is whole."""
    from .bundles import bundle_path
    from .info import describe

    describe(bundle_path(bundle), verify, as_json)


@app.command()
def systems(as_json: JsonOption = False) -> None:
    """The decoding systems: settings, defaults and sources."""
    from .systems import list_systems

    list_systems(as_json)


app.command()(plan)


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """What this machine has, and what is missing."""
    from .doctor.doctor import diagnose

    if not diagnose(as_json):
        raise typer.Exit(1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; without any, say what there is."""
    launch(app, (sys.argv[1:] if arguments is None else arguments) or ["--help"])


if __name__ == "__main__":
    main()
