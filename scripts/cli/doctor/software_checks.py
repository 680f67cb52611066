"""What `doctor` says about Python, its packages and what comes with this one."""

from __future__ import annotations

import os
import platform
import sys

from ....runtime.bundle.cache_folder import cache_folder
from ..terminal.bundles import CHECKPOINT, EXPORT_LIBRARIES
from ..terminal.output import size
from .checks import Check, installed

RUNTIME_LIBRARIES = ("numpy", "onnxruntime", "tokenizers", "safetensors", "jinja2", "ml_dtypes", "rich", "typer")
ONNXRUNTIME = "pip install 'dllm-edge[cpu]', or 'dllm-edge[gpu]' for an NVIDIA GPU"
ADVICE = {"onnxruntime": ONNXRUNTIME}


def software_checks() -> list[Check]:
    """Return the checks of what every machine needs to decode, and to export."""
    required = [_package(name, ADVICE.get(name, "pip install dllm-edge"), required=True) for name in RUNTIME_LIBRARIES]
    optional = [_package(name, "pip install 'dllm-edge[export]' to export and validate") for name in EXPORT_LIBRARIES]
    parity = _package("polygraphy", "pip install 'dllm-edge[parity]' to validate engines layer by layer")
    return [_python(), *required, *optional, parity, _engine()]


def file_checks() -> list[Check]:
    """Return the checks of the demo's files, and of the folder where its bundle is kept."""
    return [_demo(), _cache_folder()]


def onnxruntime_providers() -> list[str]:
    """Return the providers of the ONNX Runtime that is imported; none where there is none."""
    try:
        import onnxruntime

        return list(onnxruntime.get_available_providers())
    except (ImportError, AttributeError):
        return []


def _python() -> Check:
    supported = (3, 10) <= sys.version_info[:2] < (3, 14)
    return Check("Python", supported, True, platform.python_version(), "use Python 3.10 to 3.13")


def _package(name: str, advice: str, required: bool = False) -> Check:
    version = installed(name)
    if name == "onnxruntime" and version is None:
        version = installed("onnxruntime-gpu")
    return Check(name, version is not None, required, version or "not installed", advice)


def _engine() -> Check:
    """Return the check of ONNX Runtime's CPU provider, with the flavours of graph that this release takes."""
    name = "engine onnxruntime"
    try:
        import onnxruntime

        from ....runtime.engines.onnxruntime.cpu import FUSED_FROM
    except ImportError as error:
        return Check(name, False, True, f"cannot be imported ({error})", ONNXRUNTIME)
    release = tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])
    flavours = "fused and portable graphs" if release >= FUSED_FROM else "portable graphs"
    available = "CPUExecutionProvider" in onnxruntime.get_available_providers()
    return Check(name, available, True, f"cpu, {flavours}", "install an onnxruntime with its CPU provider")


def _demo() -> Check:
    files = list(CHECKPOINT.glob("*.safetensors"))
    total = sum(file.stat().st_size for file in files)
    return Check("demo checkpoint", bool(files), False, size(total) if files else "missing", "install dllm-edge again")


def _cache_folder() -> Check:
    folder = cache_folder()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return Check("cache folder", os.access(existing, os.W_OK), False, str(folder), "set XDG_CACHE_HOME to another folder")
