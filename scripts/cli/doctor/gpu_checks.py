"""What `doctor` says about a GPU and the libraries that run on it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from ....graphs.errors import DllmEdgeError
from ....runtime.engines.onnxruntime.installation import DISTRIBUTIONS, REINSTALL, installed_over_each_other
from ....runtime.engines.support import row_of, version_of
from ....runtime.engines.tensorrt.library import RUNTIMES, Library
from ..terminal.output import size
from .checks import Check, Version
from .hardware import Hardware

Find = Callable[[str], Library]
"""Finds a TensorRT by its name; raises `DllmEdgeError` that says why it is not there."""

CUDA_PROVIDER = "CUDAExecutionProvider"
CUDNN = "cuDNN"
INSTALL_DRIVER = "install NVIDIA's driver"
NO_GPU = "none is needed to run on the CPU"


def gpu_checks(hardware: Hardware, find: Find, installed: Version, providers: Sequence[str]) -> list[Check]:
    """Return the checks of GPU, driver, CUDA and engines; `providers` are those of the ONNX Runtime that is imported."""
    jetson = [_jetpack(hardware), _power(hardware)] if hardware.jetson else []
    own = [_gpu(hardware), _driver(hardware), _cuda(hardware), _bindings(hardware, installed)]
    if not (hardware.gpus or hardware.nvidia_devices or hardware.jetson):
        own = [replace(check, advice=NO_GPU) for check in own]
    engines = [_tensorrt(name, hardware, find) for name in RUNTIMES]
    return [*own, *jetson, *engines, _provider(hardware, installed, providers)]


def _gpu(hardware: Hardware) -> Check:
    names = [
        gpu.name
        + ("" if gpu.memory is None else f", {size(gpu.memory)}")
        + ("" if gpu.compute_capability is None else f", compute capability {gpu.compute_capability}")
        for gpu in hardware.gpus
    ]
    waiting = hardware.nvidia_devices and not names
    found = f"{hardware.nvidia_devices} of NVIDIA, without a driver" if waiting else "; ".join(names) or "none found"
    return Check("GPU", bool(names), False, found, INSTALL_DRIVER)


def _driver(hardware: Hardware) -> Check:
    advice = "flash or update JetPack" if hardware.jetson else INSTALL_DRIVER
    return Check("driver", hardware.driver is not None, False, hardware.driver or "none found", advice)


def _cuda(hardware: Hardware) -> Check:
    parts = (("driver takes up to", hardware.cuda_driver), ("toolkit", hardware.cuda_toolkit))
    found = ", ".join(f"{part} {number}" for part, number in parts if number)
    return Check("CUDA", bool(found), False, found or "none found", "comes with the driver; on a Jetson with JetPack")


def _jetpack(hardware: Hardware) -> Check:
    linux = f"Jetson Linux {hardware.jetson_linux or 'of unknown release'}"
    found = f"JetPack {hardware.jetpack} ({linux})" if hardware.jetpack else linux
    release = tuple(int(part) for part in re.findall(r"\d+", hardware.jetson_linux or ""))
    advice = "update to JetPack 6.2 or later: TensorRT takes these graphs from 10.3 on, which came with Jetson Linux 36.4"
    return Check("JetPack", release >= (36, 4), False, found, advice)


def _power(hardware: Hardware) -> Check:
    mode = hardware.power_mode
    found = mode or "unknown"
    advice = "sudo nvpmodel -q shows the modes, sudo nvpmodel -m N chooses the fastest, then sudo jetson_clocks"
    return Check("power mode", mode is not None and mode.startswith("MAXN"), False, found, advice)


def _tensorrt(name: str, hardware: Hardware, find: Find) -> Check:
    try:
        library = find(name)
    except DllmEdgeError as error:
        reason, _, advice = str(error).partition(": ")
        hidden = name == "tensorrt" and hardware.system_tensorrt
        return Check(f"engine {name}", False, False, reason, _hidden(hardware) if hidden else advice)
    except Exception as error:  # whatever a library of another version or CPU does when it is loaded
        reason = f"cannot be loaded ({type(error).__name__}: {error})"
        return Check(f"engine {name}", False, False, reason, "install it again, for this Python and this CUDA")
    found = f"{library.version}, takes {' and '.join(library.flavours)} graphs"
    capabilities = [gpu.compute_capability for gpu in hardware.gpus if gpu.compute_capability]
    row = row_of(name, library.release)
    if capabilities and not row.runs_on(version_of(capabilities[0])):
        found = f"{found}; does not run on compute capability {capabilities[0]}"
        return Check(f"engine {name}", False, False, found, f"use {row.others.instead}")
    return Check(f"engine {name}", True, False, found)


def _hidden(hardware: Hardware) -> str:
    """Return how to reach the system's TensorRT, which a virtual environment without the system's packages does not see."""
    path = hardware.system_tensorrt[0]
    own = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return (
        f"it lies in {path}: make the virtual environment with the system's own python3 and its packages, "
        f"python3 -m venv --system-site-packages .venv (this one is {own})"
    )


def _bindings(hardware: Hardware, installed: Version) -> Check:
    found = installed("cuda-bindings") or installed("cuda-python")
    newest = (hardware.cuda or "").split(".")[0]
    advice = (
        f"pip install 'cuda-python=={newest}.*'" if newest else "pip install cuda-python, of the driver's CUDA: 12.* or 13.*"
    )
    if found is None:
        return Check("cuda-python", False, False, "not installed", advice)
    fits = not newest or int(found.split(".")[0]) <= int(newest)
    return Check("cuda-python", fits, False, found if fits else f"{found}, newer than CUDA {hardware.cuda} here", advice)


def _provider(hardware: Hardware, installed: Version, providers: Sequence[str]) -> Check:
    versions, name = {one: installed(one) for one in DISTRIBUTIONS}, "engine onnxruntime-cuda"
    if found := installed_over_each_other(versions):
        return Check(name, False, False, found, REINSTALL)
    if CUDA_PROVIDER in providers:
        return Check(name, True, False, f"CUDA provider, onnxruntime-gpu {versions['onnxruntime-gpu'] or 'of unknown version'}")
    advice = "pip uninstall onnxruntime, then pip install 'dllm-edge[gpu]'"
    jetson = "its PyPI wheels are not for Jetson: use TensorRT there"
    return Check(name, False, False, "no CUDA provider in this onnxruntime", jetson if hardware.jetson else advice)


def cudnn_check() -> Check:
    """Return the check of cuDNN, which ONNX Runtime's CUDA provider opens without and looks for when a step runs."""
    try:
        from ....runtime.engines.onnxruntime.cuda_libraries import CUDNN_INSTALL, cudnn
    except ImportError as error:
        return Check(CUDNN, False, False, f"not looked for ({error})", "install ONNX Runtime first")
    found = cudnn()
    return Check(CUDNN, found is not None, False, found or "not found", CUDNN_INSTALL)
