"""Which ONNX Runtime is installed: `onnxruntime` for a CPU, or `onnxruntime-gpu`; both are the Python package `onnxruntime`."""

from __future__ import annotations

import warnings
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from ....graphs.errors import DllmEdgeError

DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
# By device, the extra that installs it.
EXTRAS = {"cpu": "cpu", "cuda": "gpu"}
REINSTALL = (
    "pip uninstall onnxruntime onnxruntime-gpu, then pip install 'dllm-edge[gpu]' for an NVIDIA GPU or 'dllm-edge[cpu]' without"
)


def require_onnxruntime(device: str = "cpu") -> None:
    """Raise `DllmEdgeError` where none is installed, and warn where two are: the files are of whichever came last."""
    if find_spec("onnxruntime") is None:
        raise DllmEdgeError(f"ONNX Runtime is not installed: pip install 'dllm-edge[{EXTRAS[device]}]'")
    if found := installed_over_each_other({name: _installed(name) for name in DISTRIBUTIONS}):
        warnings.warn(f"{found}: {REINSTALL}", stacklevel=2)


def installed_over_each_other(versions: dict[str, str | None]) -> str | None:
    """Return what to say where both distributions are installed, each in the other's folder; `versions` are by distribution."""
    both = [f"{name} {versions[name]}" for name in DISTRIBUTIONS if versions[name]]
    return f"{' and '.join(both)} are installed over each other" if len(both) > 1 else None


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
