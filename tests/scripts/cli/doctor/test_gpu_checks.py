from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.engines.onnxruntime import cuda_libraries
from dllm_edge.runtime.engines.tensorrt.library import Library, library_of
from dllm_edge.scripts.cli.doctor.checks import Check
from dllm_edge.scripts.cli.doctor.command import ABILITIES, lacks
from dllm_edge.scripts.cli.doctor.gpu_checks import Find, cudnn_check, gpu_checks
from dllm_edge.scripts.cli.doctor.hardware import probe

from .machines import BARE, DATACENTER, DESKTOP, JETPACK_6, JETPACK_7, WITHOUT_DRIVER, Machine


def library(name: str, **versions: str) -> Library:
    """A TensorRT of the version given for its name."""
    version = versions.get(name.replace("-", "_"))
    if version is None:
        raise DllmEdgeError(f"{name} is not installed: install it with pip install {name}")
    return library_of(name, SimpleNamespace(__version__=version))


def examine(
    machine: Machine,
    root: Path,
    distributions: dict[str, str] | None = None,
    providers: tuple[str, ...] = ("CPUExecutionProvider",),
    **tensorrts: str,
) -> dict[str, Check]:
    find: Find = lambda name: library(name, **tensorrts)  # noqa: E731
    hardware = probe(machine.write(root), machine.ask)
    checks = gpu_checks(hardware, find, (distributions or {"onnxruntime": "1.31.1"}).get, providers)
    return {check.name: check for check in checks}


CUDA = ("CUDAExecutionProvider", "CPUExecutionProvider")


def test_a_desktop_that_has_everything(tmp_path: Path) -> None:
    held = {"onnxruntime-gpu": "1.31.1", "cuda-bindings": "13.0.1"}
    found = examine(DESKTOP, tmp_path, held, CUDA, tensorrt="10.16.1", tensorrt_rtx="1.7.1")
    assert all(check.ok for check in found.values())
    assert found["GPU"].found == "NVIDIA GeForce RTX 4090, 25.8 GB, compute capability 8.9"
    assert found["engine tensorrt"].found == "10.16.1, takes fused and portable graphs"
    assert "JetPack" not in found


def test_a_jetson_whose_environment_hides_tensorrt(tmp_path: Path) -> None:
    found = examine(JETPACK_6, tmp_path, {"onnxruntime": "1.23.2", "cuda-bindings": "13.0.1"})
    assert found["JetPack"].found == "JetPack 6.2 (Jetson Linux 36.4.3)"
    assert found["power mode"] == Check("power mode", True, False, "MAXN_SUPER", found["power mode"].advice)
    hidden = found["engine tensorrt"]
    assert not hidden.ok
    assert "it lies in /usr/lib/python3.10/dist-packages/tensorrt" in hidden.advice
    assert "python3 -m venv --system-site-packages" in hidden.advice
    assert found["cuda-python"].found == "13.0.1, newer than CUDA 12.6 here"
    assert found["cuda-python"].advice == "pip install 'cuda-python==12.*'"


def test_a_jetson_that_is_ready(tmp_path: Path) -> None:
    found = examine(JETPACK_6, tmp_path, {"onnxruntime": "1.23.2", "cuda-bindings": "12.6.2"}, tensorrt="10.3.0")
    assert found["engine tensorrt"].found == "10.3.0, takes portable graphs"
    assert {name for name, check in found.items() if not check.ok} == {"engine tensorrt-rtx", "engine onnxruntime-cuda"}
    assert "not for Jetson" in found["engine onnxruntime-cuda"].advice


@pytest.mark.parametrize(
    ("release", "ok"),
    [("35.4.1", False), ("36.3.0", False), ("36.4", True), ("36.4.3", True), ("36.5", True), ("39.2.0", True), (None, False)],
)
def test_the_first_jetson_linux_whose_tensorrt_takes_the_graphs(release: str | None, ok: bool, tmp_path: Path) -> None:
    hardware = replace(probe(JETPACK_6.write(tmp_path), JETPACK_6.ask), jetson_linux=release)
    checks = gpu_checks(hardware, library, lambda _: None, ())
    assert {check.name: check.ok for check in checks}["JetPack"] is ok


def test_a_jetson_in_a_slow_power_mode(tmp_path: Path) -> None:
    found = examine(JETPACK_7, tmp_path)
    assert found["JetPack"].found == "JetPack 7.2 (Jetson Linux 39.2.0)"
    assert (found["power mode"].ok, found["power mode"].found) == (False, "MODE_30W")
    assert "nvpmodel -m" in found["power mode"].advice


def test_a_gpu_that_tensorrt_for_rtx_does_not_run_on(tmp_path: Path) -> None:
    found = examine(DATACENTER, tmp_path, tensorrt_rtx="1.7.1")
    assert not found["engine tensorrt-rtx"].ok
    assert "does not run on compute capability 8.0" in found["engine tensorrt-rtx"].found


def test_two_onnxruntimes_over_each_other(tmp_path: Path) -> None:
    found = examine(DESKTOP, tmp_path, {"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.30.0"}, CUDA)
    check = found["engine onnxruntime-cuda"]
    assert (check.ok, check.required) == (False, False)
    assert check.found == "onnxruntime 1.31.1 and onnxruntime-gpu 1.30.0 are installed over each other"
    assert check.advice.startswith("pip uninstall onnxruntime onnxruntime-gpu")


def test_a_library_that_breaks_when_it_is_loaded(tmp_path: Path) -> None:
    def broken(name: str) -> Library:
        raise OSError("libnvinfer.so.10: cannot open shared object file")

    checks = gpu_checks(probe(tmp_path, BARE.ask), broken, lambda _: None, ())
    found = {check.name: check for check in checks}["engine tensorrt"]
    assert "libnvinfer.so.10" in found.found
    assert found.advice


def test_a_driver_is_proposed_only_where_there_is_a_gpu(tmp_path: Path) -> None:
    here, elsewhere = examine(WITHOUT_DRIVER, tmp_path / "gpu"), examine(BARE, tmp_path / "none")
    assert here["GPU"].found == "1 of NVIDIA, without a driver"
    assert here["GPU"].advice == here["driver"].advice == "install NVIDIA's driver"
    assert {elsewhere[name].advice for name in ("GPU", "driver", "CUDA", "cuda-python")} == {"none is needed to run on the CPU"}


def test_a_machine_without_a_gpu_lacks_only_what_needs_one(tmp_path: Path) -> None:
    found = examine(BARE, tmp_path, {"cuda-bindings": "13.4.4"}, tensorrt_rtx="1.7.1")
    assert not any(check.required for check in found.values())
    here = [Check(name, True, True, "") for name in ("engine onnxruntime", "torch", "onnx", "onnxscript")]
    lacking = lacks([*here, *found.values()])
    works = [ability for ability in ABILITIES if ability not in lacking]
    assert works == [
        "decode on the CPU",
        "export and validate",
        "validate engines layer by layer",
        "build engines with tensorrt-rtx for GPUs that are elsewhere",
    ]
    assert lacking["run engines with tensorrt-rtx"] == ["GPU", "driver"]


@pytest.mark.parametrize(("found", "said"), [(None, "not found"), ("libcudnn.so.9", "libcudnn.so.9")])
def test_cudnn_is_looked_for(monkeypatch: pytest.MonkeyPatch, found: str | None, said: str) -> None:
    monkeypatch.setattr(cuda_libraries, "cudnn", lambda: found)
    check = cudnn_check()
    assert (check.name, check.ok, check.found) == ("cuDNN", found is not None, said)
    assert "pip install 'nvidia-cudnn-cu13==9.*'" in check.advice
