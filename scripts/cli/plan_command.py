"""`dllm-edge plan` as a command: its options. What they mean is read in `plan`."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import JsonOption


def plan(
    model: Annotated[
        str,
        typer.Argument(metavar="CHECKPOINT|BUNDLE", help="A folder with a config.json, a bundle, or demo.", show_default=False),
    ] = "",
    device: Annotated[str | None, typer.Option(help="A device by name; --list-devices shows them.", show_default=False)] = None,
    list_devices: Annotated[bool, typer.Option("--list-devices", help="Show the known devices and their figures.")] = False,
    memory: Annotated[float | None, typer.Option(help="Memory in GB, of another device.", show_default=False)] = None,
    bandwidth: Annotated[float | None, typer.Option(help="Its bandwidth in GB/s.", show_default=False)] = None,
    tflops: Annotated[float | None, typer.Option(help="Its dense float16 rate.", show_default=False)] = None,
    engine: Annotated[str, typer.Option(help="tensorrt, or onnxruntime: a card's CUDA provider, else the CPU.")] = "tensorrt",
    flavour: Annotated[
        str | None, typer.Option(help="fused or portable.", show_default="portable on an Orin (JetPack 6.2), else fused")
    ] = None,
    systems: Annotated[
        str | None, typer.Option(help="Systems, separated by commas.", show_default="all that fit the model")
    ] = None,
    context: Annotated[
        str | None, typer.Option(help="Tokens of prompt and generation, separated by commas.", show_default="2048")
    ] = None,
    gen_length: Annotated[int, typer.Option(min=1, help="Tokens to generate.")] = 128,
    block_length: Annotated[int, typer.Option(min=0, help="Tokens of a block; 0: the whole generation.")] = 32,
    retention: Annotated[float, typer.Option(min=0, max=1, help="Share of the slots that sparse-dllm keeps.")] = 0.5,
    batch: Annotated[int, typer.Option(min=1, max=10**6, help="Sequences decoded together.")] = 1,
    dtype: Annotated[str | None, typer.Option(help="float32, float16 or bfloat16.", show_default="the model's own")] = None,
    weights: Annotated[
        str | None, typer.Option(help="Layers' weights: plain, int8 or int4.", show_default="the model's own")
    ] = None,
    group: Annotated[
        int | None, typer.Option(help="Weights that share a scale: 32, 64 or 128.", show_default="the model's own, else 32")
    ] = None,
    head_weights: Annotated[
        str | None, typer.Option(help="LM head: plain, int8 or int4.", show_default="the model's own")
    ] = None,
    embedding_weights: Annotated[
        str | None, typer.Option(help="Embedding: plain or int8.", show_default="the model's own")
    ] = None,
    tokens_per_forward: Annotated[
        float | None,
        typer.Option(min=0.01, max=1e6, help="Tokens a forward commits on average, for tokens a second.", show_default=False),
    ] = None,
    desktop: Annotated[bool, typer.Option("--desktop", help="Count a desktop's memory, too.")] = False,
    swap: Annotated[float, typer.Option(min=0, help="GB of swap that a build may fill.")] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Estimate from a config alone whether a model fits a device, and its speed at most; exit code 3 where it does not."""
    from . import plan as planning
    from .device_list import show_devices

    if list_devices:
        show_devices(as_json)
        return
    wish = planning.Wish(
        model=model,
        target=planning.target(device, memory, bandwidth, tflops, engine, flavour, desktop, swap),
        systems=systems,
        context=context,
        decode=planning.lengths(gen_length, block_length, retention, batch),
        dtype=dtype,
        formats=planning.FormatWish(weights, head_weights, embedding_weights, group),
        tokens_per_forward=tokens_per_forward,
    )
    if not planning.show_plan(wish, as_json):
        raise typer.Exit(3)
