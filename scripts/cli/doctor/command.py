"""`dllm-edge doctor`: what this machine has, what it can do with it, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import typer
from rich.table import Table
from rich.text import Text

from ....runtime.engines.tensorrt.library import find_library
from ..terminal.bundles import EXPORT_LIBRARIES
from ..terminal.options import JsonOption
from ..terminal.output import print_json, screen, verdict
from .checks import Check, installed
from .gpu_checks import CUDNN, cudnn_check, gpu_checks
from .hardware import probe
from .machine import machine
from .software_checks import file_checks, onnxruntime_providers, software_checks

ON_GPU = ("GPU", "driver", "cuda-python")
ABILITIES: dict[str, tuple[str, ...]] = {
    "decode on the CPU": ("engine onnxruntime",),
    "export and validate": EXPORT_LIBRARIES,
    "validate engines layer by layer": ("polygraphy",),
    "build engines with tensorrt-rtx for GPUs that are elsewhere": ("engine tensorrt-rtx",),
    "build and run engines with tensorrt": (*ON_GPU, "engine tensorrt"),
    "run engines with tensorrt-rtx": (*ON_GPU, "engine tensorrt-rtx"),
    "decode on the GPU with onnxruntime": (*ON_GPU, "engine onnxruntime-cuda", CUDNN),
}
"""What a machine can do, and the checks that it takes."""


def command(as_json: JsonOption = False) -> None:
    hardware = probe()
    accelerators = [*gpu_checks(hardware, find_library, installed, onnxruntime_providers()), cudnn_check()]
    checks = [*software_checks(), *accelerators, *file_checks()]
    ok = all(check.ok for check in checks if check.required)
    if as_json:
        facts = asdict(hardware) | {"jetpack": hardware.jetpack}
        data = {"ok": ok, "machine": machine(), "hardware": facts, "checks": [asdict(check) for check in checks]}
        print_json(data | {"works": abilities(checks), "lacks": lacks(checks)})
    else:
        print_checks(checks)
    if not ok:
        raise typer.Exit(1)


def abilities(checks: Sequence[Check]) -> list[str]:
    """Return what this machine can do."""
    lacking = lacks(checks)
    return [ability for ability in ABILITIES if ability not in lacking]


def lacks(checks: Sequence[Check]) -> dict[str, list[str]]:
    """Return, for each ability that this machine has not, the checks that failed."""
    failed = {check.name for check in checks if not check.ok}
    failures = {ability: [need for need in needs if need in failed] for ability, needs in ABILITIES.items()}
    return {ability: missing for ability, missing in failures.items() if missing}


def print_checks(checks: Sequence[Check]) -> None:
    """Print all checks as a table, and below it what works and what does not."""
    console = screen()
    console.print(_table(checks))
    console.print(", ".join(f"{name} {value}" for name, value in machine().items()), style="dim", highlight=False)
    console.print(f"works here: {'; '.join(abilities(checks)) or 'nothing yet'}", highlight=False, soft_wrap=True)
    for ability, missing in lacks(checks).items():
        console.print(f"not here: {ability} (lacks {', '.join(missing)})", highlight=False, soft_wrap=True)


def _table(checks: Sequence[Check]) -> Table:
    table = Table(title="doctor", title_justify="left")
    for column in ("", "what", "found", "what to do"):
        table.add_column(column, overflow="fold")
    for check in checks:
        mark = verdict(check.ok, "ok", "missing") if check.ok or check.required else Text("absent", style="yellow")
        table.add_row(mark, check.name, check.found, "" if check.ok else check.advice)
    return table
