"""The command line: which commands there are. Each is a module beside this one that is imported when it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup

from .start import LeavingAtOnce
from .terminal.launch import app_of, launch, new_app


class Declaration(NamedTuple):
    """A command whose function is `command` of a module of this package."""

    module: str
    help: str


COMMANDS = {
    "demo": Declaration("demo", "Export, validate and decode the embedded model: the main job from start to end."),
    "export": Declaration("export", "Export a checkpoint to a bundle: step graphs, weights, tokenizer."),
    # Not a folder `build`: tools take that name for their own output.
    "build": Declaration(
        "engine_build.command",
        "Compile a bundle's graphs with TensorRT for what will be decoded; a second build of the same does nothing.",
    ),
    "validate": Declaration(
        "validate",
        "Check a bundle against torch, or an engine on --device cuda or in half precision against ONNX Runtime on the CPU.",
    ),
    "run": Declaration("run", "Decode one prompt; in a terminal the canvas fills in live."),
    "eval": Declaration("eval", "Accuracy and speed of one system on a task."),
    "bench": Declaration(
        "bench.command", "Accuracy and speed of several systems on the same problems; resumes one that was ended."
    ),
    "info": Declaration("info", "What a bundle holds, and whether it is whole."),
    "systems": Declaration("systems", "The decoding systems and rules: what composes, settings, defaults and sources."),
    "plan": Declaration(
        "plan.command",
        "Estimate from a config alone whether a model fits a device, and its speed at most; exit code 3 where it does not.",
    ),
    "doctor": Declaration("doctor.command", "What this machine has, and what is missing."),
}


class LazyGroup(TyperGroup):
    """Lists commands as they are declared, and imports the one that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, _, rest = super().resolve_command(ctx, args)
        return name, load_command(str(name)), rest


def load_command(name: str) -> Any:
    """Return a command with its options, for Click."""
    module, text = COMMANDS[name]
    with LeavingAtOnce():
        command = import_module(f".{module}", __package__).command
    return typer.main.get_command(app_of(command, name=name, help=text))


def declare(name: str) -> None:
    """Have the command listed; what it does and its options are in its module."""
    app.command(name, help=COMMANDS[name].help)(lambda: None)


app = new_app(
    name="dllm-edge", help="Diffusion language models as plain ONNX graphs, decoded by a light Python runtime.", cls=LazyGroup
)
for declared in COMMANDS:
    declare(declared)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; without any, say what there is."""
    launch(app, (sys.argv[1:] if arguments is None else arguments) or ["--help"])


if __name__ == "__main__":
    main()
