"""From the word on the command line to a bundle: a folder, or the embedded demo, exported on first use."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ....graphs.errors import DllmEdgeError
from ....runtime.bundle.demo import CHECKPOINT, DEMO, demo_path
from ....runtime.generate import Model, load
from .options import EngineOptions
from .output import log
from .progress import progress_bars

__all__ = ["CHECKPOINT", "DEMO"]

ELSEWHERE = "the demo is kept in the user's cache folder, and XDG_CACHE_HOME names another"
EXPORT_LIBRARIES = ("torch", "onnx", "onnxscript")


def require_export() -> None:
    """Raise unless the libraries that an export needs are installed; none of them is imported."""
    missing = [name for name in EXPORT_LIBRARIES if find_spec(name) is None]
    if missing:
        raise DllmEdgeError(f"this needs {', '.join(missing)}: install with pip install 'dllm-edge[export]'")


def bundle_path(word: str) -> Path:
    """Return the folder that BUNDLE names; for `demo` that of the demo's bundle, exported where it is not there yet."""
    return demo_bundle() if word == DEMO else Path(word)


def open_model(word: str, options: EngineOptions, threads: int = 0, guide: str | None = None) -> Model:
    """Load the bundle that BUNDLE names, and its guide, on the engine that the options choose."""
    engine: dict[str, Any] = {
        "engine": options.engine,
        "device": options.device,
        "threads": threads,
        "compute": options.compute,
    }
    return load(bundle_path(word), guide=None if guide is None else bundle_path(guide), **engine)


def demo_bundle(fresh: bool = False) -> Path:
    """Return the folder of the demo's bundle, in the user's cache folder; `fresh` exports it again."""
    path = demo_path(CHECKPOINT)
    if not fresh and opens(path):
        return path
    require_export()
    from ....export.bundle import export_bundle

    log().print(f"exporting the demo's checkpoint to {path}", soft_wrap=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with progress_bars() as progress:
            export_bundle(CHECKPOINT, path, overwrite=True, progress=lambda stage, share: progress(f"export: {stage}", share))
    except OSError as error:
        raise DllmEdgeError(f"{path.parent}: cannot be made ({error.strerror}): {ELSEWHERE}") from error
    except DllmEdgeError as error:
        raise DllmEdgeError(f"{error}; {ELSEWHERE}") from error
    return path


def opens(path: Path) -> bool:
    """Return whether a whole bundle is there."""
    from ....runtime.bundle.bundle import Bundle

    try:
        Bundle.open(path)
    except DllmEdgeError:
        return False
    return True
