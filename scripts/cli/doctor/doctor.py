"""`dllm-edge doctor`: what this machine has, what it can do with it, and what is missing."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from ....runtime.engines.tensorrt.library import find_library
from ..bundles import CHECKPOINT
from ..output import print_json, screen, size
from .checks import Check, installed
from .gpu_checks import gpu_checks
from .hardware import probe

RUNTIME = ("numpy", "onnxruntime", "tokenizers", "safetensors", "jinja2", "ml_dtypes", "rich", "typer")
EXPORT = ("torch", "onnx", "onnxscript")


ON_GPU = ("GPU", "driver", "cuda-python")
ABILITIES: dict[str, tuple[str, ...]] = {
    "decode on the CPU": ("engine onnxruntime",),
    "export and validate": EXPORT,
    "build engines with tensorrt-rtx for GPUs that are elsewhere": ("engine tensorrt-rtx",),
    "build and run engines with tensorrt": (*ON_GPU, "engine tensorrt"),
    "run engines with tensorrt-rtx": (*ON_GPU, "engine tensorrt-rtx"),
    "decode on the GPU with onnxruntime": (*ON_GPU, "engine onnxruntime-cuda"),
}
"""What a machine can do, and the checks that it takes."""


def diagnose(as_json: bool) -> bool:
    """Print the checks; whether everything that is required is there."""
    hardware = probe()
    accelerators = gpu_checks(hardware, find_library, installed, _providers())
    checks = [_python(), *_packages(), _engine(), *accelerators, _demo(), _cache_folder()]
    ok = all(check.ok for check in checks if check.required)
    about, lacking = machine(), lacks(checks)
    works = [ability for ability in ABILITIES if ability not in lacking]
    if as_json:
        facts = asdict(hardware) | {"jetpack": hardware.jetpack}
        data = {"ok": ok, "machine": about, "hardware": facts, "checks": [asdict(check) for check in checks]}
        print_json(data | {"works": works, "lacks": lacking})
        return ok
    screen().print(_table(checks))
    screen().print(", ".join(f"{name} {value}" for name, value in about.items()), style="dim", highlight=False)
    screen().print(f"works here: {'; '.join(works) or 'nothing yet'}", highlight=False, soft_wrap=True)
    for ability, missing in lacking.items():
        screen().print(f"not here: {ability} (lacks {', '.join(missing)})", highlight=False, soft_wrap=True)
    return ok


def lacks(checks: Sequence[Check]) -> dict[str, list[str]]:
    """By ability that this machine has not, the checks that failed."""
    failed = {check.name for check in checks if not check.ok}
    found = {ability: [need for need in needs if need in failed] for ability, needs in ABILITIES.items()}
    return {ability: missing for ability, missing in found.items() if missing}


def machine() -> dict[str, str | int]:
    """What this runs on."""
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_bytes": pages * page,
    }


def _python() -> Check:
    supported = (3, 10) <= sys.version_info[:2] < (3, 14)
    return Check("Python", supported, True, platform.python_version(), "use Python 3.10 to 3.13")


def _packages() -> list[Check]:
    return [_package(name, True) for name in RUNTIME] + [_package(name, False) for name in EXPORT]


def _package(name: str, required: bool) -> Check:
    advice = "pip install dllm-edge" if required else "pip install 'dllm-edge[export]' to export and validate"
    found = installed(name)
    if name == "onnxruntime" and found is None:
        found = installed("onnxruntime-gpu")
    return Check(name, found is not None, required, found or "not installed", advice)


def _providers() -> list[str]:
    try:
        import onnxruntime

        return list(onnxruntime.get_available_providers())
    except (ImportError, AttributeError):
        return []


def _engine() -> Check:
    """ONNX Runtime's CPU provider, and the flavour of graph that this release takes."""
    try:
        import onnxruntime

        from ....runtime.engines.onnxruntime.cpu import FUSED_FROM
    except ImportError as error:
        return Check(
            "engine onnxruntime", False, True, f"cannot be imported ({error})", "pip install --force-reinstall onnxruntime"
        )
    release = tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])
    flavours = "fused and portable graphs" if release >= FUSED_FROM else "portable graphs"
    available = "CPUExecutionProvider" in onnxruntime.get_available_providers()
    return Check("engine onnxruntime", available, True, f"cpu, {flavours}", "install an onnxruntime with its CPU provider")


def _demo() -> Check:
    files = list(CHECKPOINT.glob("*.safetensors"))
    total = sum(file.stat().st_size for file in files)
    return Check("demo checkpoint", bool(files), False, size(total) if files else "missing", "install dllm-edge again")


def _cache_folder() -> Check:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return Check("cache folder", os.access(place, os.W_OK), False, str(folder), "set XDG_CACHE_HOME to another folder")


def _table(checks: list[Check]) -> Table:
    table = Table(title="doctor", title_justify="left")
    for column in ("", "what", "found", "what to do"):
        table.add_column(column, overflow="fold")
    for check in checks:
        mark = "[green]ok" if check.ok else "[red]missing" if check.required else "[yellow]absent"
        table.add_row(mark, check.name, check.found, "" if check.ok else check.advice)
    return table
