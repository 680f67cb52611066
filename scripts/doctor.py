"""`dllm-edge doctor`: what this machine has, what it can do with it, and what is missing."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.table import Table

from .bundles import CHECKPOINT
from .output import print_json, screen, size

RUNTIME = ("numpy", "onnxruntime", "tokenizers", "safetensors", "jinja2", "ml_dtypes", "rich", "typer")
EXPORT = ("torch", "onnx", "onnxscript")


@dataclass(frozen=True)
class Check:
    """`required`: without it nothing runs. `advice` says what to do where `ok` is false."""

    name: str
    ok: bool
    required: bool
    found: str
    advice: str = ""


def diagnose(as_json: bool) -> bool:
    """Print the checks; whether everything that is required is there."""
    checks = [_python(), *_packages(), _engine(), _demo(), _cache_folder()]
    ok = all(check.ok for check in checks if check.required)
    about = machine()
    if as_json:
        print_json({"ok": ok, "machine": about, "checks": [asdict(check) for check in checks]})
        return ok
    screen().print(_table(checks))
    screen().print(", ".join(f"{name} {value}" for name, value in about.items()), style="dim", highlight=False)
    return ok


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
    try:
        return Check(name, True, required, version(name), advice)
    except PackageNotFoundError:
        return Check(name, False, required, "not installed", advice)


def _engine() -> Check:
    """ONNX Runtime's CPU provider, and the flavour of graph that this release takes."""
    try:
        import onnxruntime

        from ..runtime.engines.onnxruntime import FUSED_FROM
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
        table.add_column(column)
    for check in checks:
        mark = "[green]ok" if check.ok else "[red]missing" if check.required else "[yellow]absent"
        table.add_row(mark, check.name, check.found, "" if check.ok else check.advice)
    return table
