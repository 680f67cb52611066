"""`dllm-edge build`: the engine of a bundle, for what will be decoded with it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ....export.plan.this_machine import MEMINFO
from ....export.tensorrt.build import build_engine
from ....export.tensorrt.compilation import Compilation
from ....export.tensorrt.memory import check_memory
from ....export.tensorrt.options import BuildOptions
from ....export.tensorrt.support import untried
from ....export.tensorrt.targets import choose_targets
from ....runtime.bundle.bundle import Bundle
from ....runtime.engines.device.present import present_compute_capability
from ....runtime.engines.tensorrt.engine_folder import EngineFolder
from ....runtime.engines.tensorrt.library import Library, find_library
from ..terminal.bundles import bundle_path
from ..terminal.options import (
    BundleArgument,
    GenLengthOption,
    JsonOption,
    SetOption,
    SystemsOption,
    parse_settings,
    parse_systems,
)
from ..terminal.progress import phase_bars
from .announcement import announce
from .report import print_build
from .workload import Decodes, workload_of


def command(
    *,
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
    decodes = Decodes(tuple(parse_systems(systems)), parse_settings(assignments, gen_length), context, batch)
    options = BuildOptions(compute, flavour, optimization_level, None if workspace is None else workspace * 1_000_000)
    build_bundle(bundle, runtime, target or (), decodes, options, as_json, ignore_memory)


def build_bundle(
    word: str,
    runtime: str,
    targets: Sequence[str],
    decodes: Decodes,
    options: BuildOptions,
    as_json: bool,
    ignore_memory: bool = False,
    meminfo: Path = MEMINFO,
) -> None:
    """Build the engine of the bundle that BUNDLE names, unless it is there, and run it where it is for this machine's GPU."""
    library, present = find_library(runtime), present_compute_capability()
    chosen = choose_targets(library, targets, present)
    bundle = Bundle.open(bundle_path(word))
    compilation = Compilation(bundle, library, chosen, options)
    notes = untried(compilation)
    workload = workload_of(bundle, decodes)
    announce(compilation, workload, notes, as_json)
    runs_here = present in chosen
    started = time.perf_counter()
    with phase_bars(width=10) as progress:
        trial = partial(run_once, bundle, library) if runs_here else None
        check = None if ignore_memory else partial(check_memory, bundle, meminfo)
        built = build_engine(compilation, workload, progress=progress, before_build=check, trial=trial)
    print_build(built, runs_here, time.perf_counter() - started, as_json)


def run_once(bundle: Bundle, library: Library, folder: EngineFolder) -> None:
    """Raise unless every engine file opens on the GPU of this machine, and a step of each profile runs there."""
    from ....runtime.engines.device.cuda import CudaDevice
    from ....runtime.engines.tensorrt.open import engine_over, try_engine

    try_engine(engine_over(bundle, library, CudaDevice(), folder))
