"""Arguments and options that several commands share, and what their text means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ...graphs.errors import DllmEdgeError

BundleArgument = Annotated[
    str, typer.Argument(metavar="BUNDLE", help="A bundle's folder, or the word demo.", show_default=False)
]
CheckpointArgument = Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A Hugging Face folder.", show_default=False)]
BundleOutput = Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder to make.", show_default=False)]
FlavourOption = Annotated[str, typer.Option(help="Which graphs: both, fused or portable.")]
DtypeOption = Annotated[str, typer.Option(help="What weights are stored as: auto, float32, float16 or bfloat16.")]
WeightsOption = Annotated[str, typer.Option(help="The layers' linear weights: plain (as --dtype), int8 or int4.")]
GroupOption = Annotated[int, typer.Option(help="How many integers share a scale: 32, 64 or 128.")]
HeadWeightsOption = Annotated[str, typer.Option(help="The LM head's weights: plain, int8 or int4.")]
EmbeddingWeightsOption = Annotated[str, typer.Option(help="The embedding's weights: plain or int8.")]
LoraOption = Annotated[Path | None, typer.Option(help="A PEFT LoRA folder to merge.", show_default=False)]
LinkOption = Annotated[bool, typer.Option("--link", help="Hard-link the checkpoint's weights instead of writing them.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is there.")]
LevelOption = Annotated[
    str | None, typer.Option(help="The last level to run: structure, layers, trajectory or task.", show_default="task")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; progress goes to stderr.")]
EngineOption = Annotated[str, typer.Option(help="What runs the graphs: onnxruntime, tensorrt or tensorrt-rtx.")]
DeviceOption = Annotated[
    str | None, typer.Option(help="Where they run: cpu or cuda.", show_default="cpu; with a TensorRT, cuda")
]
ComputeOption = Annotated[
    str | None,
    typer.Option(help="What to compute in: float32, float16 or bfloat16.", show_default="cpu: float32; cuda: the bundle's"),
]
ThreadsOption = Annotated[int, typer.Option(min=0, help="Threads within an operator; 0: all cores.")]
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


def parse_settings(assignments: Sequence[str] | None, gen_length: int | None) -> dict[str, Any]:
    """The settings that `--set` and `--gen-length` give, their values as text."""
    settings: dict[str, Any] = {}
    for assignment in assignments or ():
        name, equals, value = assignment.partition("=")
        if not (name and equals and value):
            raise DllmEdgeError(f"--set {assignment}: must be key=value, as in --set threshold=0.9")
        settings[name.strip()] = value.strip()
    return settings if gen_length is None else settings | {"gen_length": gen_length}


def parse_systems(text: str) -> list[str]:
    """Names separated by commas, each of a known system, none twice."""
    from ...runtime.systems import find_system

    names = dict.fromkeys(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise DllmEdgeError(f"--systems '{text}' names no system: give one or more, separated by commas")
    return [find_system(name).name for name in names]
