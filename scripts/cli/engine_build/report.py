"""What a build says when it has ended."""

from __future__ import annotations

from typing import Any

from ....export.tensorrt.build import Built
from ....runtime.engines.tensorrt.fingerprint import Flags
from ..terminal.output import key_values, print_json, screen, size


def print_build(built: Built, runs_here: bool, seconds: float, as_json: bool) -> None:
    """Print what was built in how many seconds; `runs_here`: it is for the GPU of this machine, and ran there."""
    engine = built.engine
    if as_json:
        print_json(_data(built, runs_here) | {"seconds": seconds, "fingerprint": engine.fingerprint.to_json()})
    elif not built.fresh:
        screen().print(f"{engine.path}: already built, nothing to do", soft_wrap=True, highlight=False)
    else:
        screen().print(key_values(_rows(built, runs_here, seconds)), soft_wrap=True)
        screen().print("done")


def flags_text(flags: Flags) -> str:
    """Return the flags of a build in one line."""
    workspace = "no limit" if flags.workspace is None else size(flags.workspace)
    decomposed = "; attention in several kernels" if flags.decomposable else ""
    return f"optimisation level {flags.optimization_level}; workspace: {workspace}{decomposed}"


def _data(built: Built, runs_here: bool) -> dict[str, Any]:
    return {
        "engine": str(built.engine.path),
        "built": built.fresh,
        "replaced": built.replaced,
        "run": built.fresh and runs_here,
        "bytes": _bytes(built),
    }


def _rows(built: Built, runs_here: bool, seconds: float) -> dict[str, object]:
    engine = built.engine
    rows: dict[str, object] = {
        "engine": engine.path,
        "graphs": ", ".join(engine.fingerprint.plans),
        "size": size(_bytes(built)),
        "flags": flags_text(engine.fingerprint.flags),
        "took": f"{seconds:.1f} s",
        "state": "ran a step of each profile on this machine's GPU"
        if runs_here
        else "built but not run: this machine shows no GPU that it is for",
    }
    replaced = {"note": "took the place of an engine for other sizes or flags: one build has to name all that is decoded"}
    return rows | (replaced if built.replaced else {})


def _bytes(built: Built) -> int:
    return sum(record.size for record in built.engine.fingerprint.plans.values())
