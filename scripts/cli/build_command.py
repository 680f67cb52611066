"""`dllm-edge build` as a command: its options. What they mean is read in `build`."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import BundleArgument, GenLengthOption, JsonOption, SetOption, SystemsOption, parse_settings, parse_systems


def build(
    bundle: BundleArgument,
    runtime: Annotated[str, typer.Option(help="What to build with: tensorrt or tensorrt-rtx.", show_default=False)],
    target: Annotated[
        list[str] | None,
        typer.Option(help="A GPU to build for, as sm86; may be given again (tensorrt-rtx).", show_default="the one here"),
    ] = None,
    systems: SystemsOption = "vanilla,fast-dllm-dual",
    context: Annotated[
        str | None,
        typer.Option(help="Longest texts, prompt and generation, in tokens, separated by commas.", show_default="2048"),
    ] = None,
    gen_length: GenLengthOption = None,
    batch: Annotated[int, typer.Option(min=1, help="How many texts are decoded together.")] = 1,
    assignments: SetOption = None,
    compute: Annotated[
        str | None, typer.Option(help="The type to compute in: the bundle's, or float32.", show_default="the bundle's")
    ] = None,
    flavour: Annotated[
        str | None, typer.Option(help="Which graph: fused or portable.", show_default="the best that is taken")
    ] = None,
    optimization_level: Annotated[int, typer.Option(min=0, max=5, help="0: quick build; 5: can take hours.")] = 3,
    workspace: Annotated[
        int | None,
        typer.Option(min=1, metavar="MB", help="Most memory of one kernel beside its tensors.", show_default="no limit"),
    ] = None,
    ignore_memory: Annotated[
        bool, typer.Option("--ignore-memory", help="Build even where the estimate is more than the free memory and swap.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compile a bundle's graphs with TensorRT for what will be decoded; a second build of the same does nothing."""
    from ...export.tensorrt.options import BuildOptions
    from .build import Decodes, build_bundle, parse_contexts

    decodes = Decodes(tuple(parse_systems(systems)), parse_settings(assignments, gen_length), parse_contexts(context), batch)
    options = BuildOptions(compute, flavour, optimization_level, None if workspace is None else workspace * 1_000_000)
    build_bundle(bundle, runtime, target or (), decodes, options, as_json, ignore_memory)
