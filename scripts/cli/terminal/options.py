"""Arguments and options that several commands share, and what the text of some means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ....graphs.errors import DllmEdgeError
from .lists import parse_names, parse_numbers

DEFAULT_CONTEXT = 2048

BundleArgument = Annotated[
    str, typer.Argument(metavar="BUNDLE", help="A bundle's folder, or the word demo.", show_default=False)
]
CheckpointArgument = Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A Hugging Face folder.", show_default=False)]
NewBundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder to make.", show_default=False)]
LevelOption = Annotated[
    str | None, typer.Option(help="The last level to run: structure, layers, trajectory or task.", show_default="task")
]
SamplesOption = Annotated[int | None, typer.Option(min=1, help="Problems of the task level.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; progress goes to stderr.")]
OutputOption = Annotated[Path | None, typer.Option(help="Also write the JSON to this file.", show_default=False)]
ThreadsOption = Annotated[int, typer.Option(min=0, help="Threads within an operator; 0: all cores.")]
GuideOption = Annotated[
    str | None,
    typer.Option(
        "--guide", metavar="BUNDLE", help="A causal model's bundle, for systems that ask for one.", show_default=False
    ),
]
SystemOption = Annotated[str, typer.Option(help="How to decode; 'dllm-edge systems' lists them.")]
SystemsOption = Annotated[str, typer.Option(help="Systems, separated by commas; 'dllm-edge systems' lists them.")]
GenLengthOption = Annotated[
    int | None, typer.Option(min=1, help="Tokens to generate; by default what the bundle says.", show_default=False)
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the system; may be given again.")
]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of the decode's random numbers.")]
TaskOption = Annotated[str | None, typer.Option(help="The task, as arithmetic.", show_default="the bundle's own")]
LimitOption = Annotated[int, typer.Option(min=1, help="How many of the task's problems to decode.")]
BatchOption = Annotated[int, typer.Option(min=1, help="How many problems to decode together.")]


@dataclass(frozen=True)
class ExportOptions:
    """The options of `export.bundle.export_bundle`, under its names."""

    flavour: Annotated[str, typer.Option(help="Which graphs: both, fused or portable.")] = "both"
    dtype: Annotated[str, typer.Option(help="What weights are stored as: auto, float32, float16 or bfloat16.")] = "auto"
    weights: Annotated[str, typer.Option(help="The layers' linear weights: plain (as --dtype), int8 or int4.")] = "plain"
    group: Annotated[int, typer.Option(help="How many integers share a scale: 32, 64 or 128.")] = 32
    head_weights: Annotated[str, typer.Option(help="The LM head's weights: plain, int8 or int4.")] = "plain"
    embedding_weights: Annotated[str, typer.Option(help="The embedding's weights: plain or int8.")] = "plain"
    lora: Annotated[Path | None, typer.Option(help="A PEFT LoRA folder to merge.", show_default=False)] = None
    link: Annotated[bool, typer.Option("--link", help="Hard-link the checkpoint's weights instead of writing them.")] = False
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is there.")] = False
    allow_nonfinite: Annotated[
        bool, typer.Option("--allow-nonfinite", help="Export weights that are NaN or infinite as they are.")
    ] = False


@dataclass(frozen=True)
class EngineOptions:
    """What runs a bundle's graphs; of `device` and `compute`, None is the engine's own choice."""

    engine: Annotated[str, typer.Option(help="What runs the graphs: onnxruntime, tensorrt or tensorrt-rtx.")] = "onnxruntime"
    device: Annotated[
        str | None, typer.Option(help="Where they run: cpu or cuda.", show_default="cpu; with a TensorRT, cuda")
    ] = None
    compute: Annotated[
        str | None,
        typer.Option(help="What to compute in: float32, float16 or bfloat16.", show_default="cpu: float32; cuda: the bundle's"),
    ] = None


def parse_settings(assignments: Sequence[str] | None, gen_length: int | None) -> dict[str, Any]:
    """Return the settings that `--set` and `--gen-length` give, the values of `--set` as text."""
    settings: dict[str, Any] = {}
    for assignment in assignments or ():
        name, equals, value = assignment.partition("=")
        if not (name and equals and value):
            raise DllmEdgeError(f"--set {assignment}: must be key=value, as in --set threshold=0.9")
        settings[name.strip()] = value.strip()
    return settings if gen_length is None else settings | {"gen_length": gen_length}


def parse_systems(text: str) -> list[str]:
    """Return the names of known systems that `--systems` gives, each once."""
    from ....runtime.systems import all_systems

    return parse_names(text, "system", all_systems())


def parse_contexts(text: str | None, max_positions: int) -> tuple[int, ...]:
    """Return the lengths in tokens, prompt and generation, that `--context` gives; by default one that the model has."""
    return (min(DEFAULT_CONTEXT, max_positions),) if text is None else parse_numbers(text, "--context", least=2)
