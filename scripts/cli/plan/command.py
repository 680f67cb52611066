"""`dllm-edge plan`: whether a model fits a device, and its speed at most, from a config alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ....export.plan.model import PlannedModel
from ....export.plan.plan import make_plan
from ....graphs.dtypes import parse_dtype
from ....graphs.errors import DllmEdgeError
from ..terminal.bundles import CHECKPOINT, DEMO
from ..terminal.options import JsonOption
from ..terminal.output import print_json
from .devices import show_devices
from .options import DecodeOptions, FormatOptions, TargetOptions
from .view import print_plan


def command(
    *,
    model: Annotated[
        str,
        typer.Argument(metavar="CHECKPOINT|BUNDLE", help="A folder with a config.json, a bundle, or demo.", show_default=False),
    ] = "",
    target: TargetOptions,
    decode: DecodeOptions,
    dtype: Annotated[str | None, typer.Option(help="float32, float16 or bfloat16.", show_default="the model's own")] = None,
    formats: FormatOptions,
    tokens_per_forward: Annotated[
        float | None,
        typer.Option(min=0.01, max=1e6, help="Tokens a forward commits on average, for tokens a second.", show_default=False),
    ] = None,
    desktop: Annotated[bool, typer.Option("--desktop", help="Count a desktop's memory, too.")] = False,
    swap: Annotated[float, typer.Option(min=0, help="GB of swap that a build may fill.")] = 0.0,
    as_json: JsonOption = False,
) -> None:
    if target.list_devices:
        show_devices(as_json)
        return
    device = target.target(desktop, swap)
    planned = planned_model(model, dtype, formats)
    plan = make_plan(planned, device, decode.decodes(planned.config), tokens_per_forward)
    if as_json:
        print_json(plan.to_json())
    else:
        print_plan(plan)
    if not plan.fits:
        raise typer.Exit(3)


def planned_model(word: str, dtype: str | None, formats: FormatOptions) -> PlannedModel:
    """Return the model that CHECKPOINT|BUNDLE names, in the dtype and formats that it would have."""
    if not word:
        raise DllmEdgeError("give a folder with a config.json or a bundle, as in 'dllm-edge plan MODEL --device l4'")
    model = PlannedModel.read(CHECKPOINT if word == DEMO else Path(word))
    precision = replace(model.precision, formats=formats.instead_of(model.precision.formats))
    if dtype is not None:
        precision = replace(precision, dtype=parse_dtype(dtype))
    return replace(model, precision=precision)
