"""The command line. Each command imports what it needs when it runs, so that starting stays quick."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ..graphs.errors import DllmEdgeError
from .options import (
    BatchOption,
    BundleArgument,
    CheckpointArgument,
    DeviceOption,
    EngineOption,
    GenLengthOption,
    JsonOption,
    LimitOption,
    SeedOption,
    SetOption,
    SystemOption,
    TaskOption,
    ThreadsOption,
    parse_settings,
)

app = typer.Typer(
    name="dllm-edge",
    help="Diffusion language models as plain ONNX graphs, decoded by a light Python runtime.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def export(
    checkpoint: CheckpointArgument,
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder to make.", show_default=False)],
    flavour: Annotated[str, typer.Option(help="Which graphs: both, fused or portable.")] = "both",
    dtype: Annotated[str, typer.Option(help="What weights are stored as: auto, float32, float16 or bfloat16.")] = "auto",
    lora: Annotated[Path | None, typer.Option(help="A PEFT LoRA folder to merge.", show_default=False)] = None,
    link: Annotated[bool, typer.Option("--link", help="Hard-link the checkpoint's weights instead of writing them.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Export a checkpoint to a bundle: step graphs, weights, tokenizer."""
    from .export import export_checkpoint

    export_checkpoint(checkpoint, bundle, flavour, dtype, lora, link, overwrite, as_json)


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
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Decode one prompt; in a terminal the canvas fills in live."""
    from .bundles import open_model
    from .run import run_prompt

    settings = parse_settings(assignments, gen_length)
    model = open_model(bundle, engine, device, threads)
    run_prompt(model, prompt, system, settings, seed=seed, chat=chat, trace=trace, as_json=as_json)


@app.command("eval")
def evaluate(
    bundle: BundleArgument,
    task: TaskOption = "arithmetic",
    system: SystemOption = "vanilla",
    gen_length: GenLengthOption = None,
    limit: LimitOption = 100,
    batch: BatchOption = 1,
    assignments: SetOption = None,
    seed: SeedOption = 0,
    engine: EngineOption = "onnxruntime",
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Accuracy and speed of one system on a task."""
    from .bundles import open_model
    from .eval import evaluate_system

    settings = parse_settings(assignments, gen_length)
    evaluate_system(open_model(bundle, engine, device, threads), task, system, limit, batch, seed, settings, as_json)


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


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """What this machine has, and what is missing."""
    from .doctor import diagnose

    if not diagnose(as_json):
        raise typer.Exit(1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command. Users' errors are one line on stderr and exit code 2."""
    try:
        app(arguments)
    except DllmEdgeError as error:
        fail(str(error))
    except BrokenPipeError:
        # Whoever read stdout has gone; without this, flushing it at exit would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def fail(message: str) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
