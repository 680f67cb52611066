from __future__ import annotations

from pathlib import Path

import pytest

from dllm_edge.export.plan.devices import GB
from dllm_edge.export.plan.target import target_of
from dllm_edge.export.plan.this_machine import read_meminfo, this_machine
from dllm_edge.graphs.errors import DllmEdgeError


def meminfo(folder: Path, text: str) -> Path:
    file = folder / "meminfo"
    file.write_text(text)
    return file


def test_memory_is_the_kernels_and_bandwidth_is_measured(tmp_path: Path) -> None:
    device = this_machine(meminfo(tmp_path, "MemTotal:       2000000 kB\nMemFree:         100 kB\nHugePages_Total:       0\n"))
    assert (device.name, device.kind, device.memory) == ("cpu", "host", 2_048_000_000)
    assert device.bandwidth is not None
    assert 0.01 * GB < device.bandwidth < 10_000 * GB
    assert "measured a moment ago" in device.note


def test_a_bandwidth_that_is_given_is_not_measured(tmp_path: Path) -> None:
    device = this_machine(meminfo(tmp_path, "MemTotal: 2000000 kB\n"), measure=False)
    assert (device.bandwidth, device.note) == (None, "")


@pytest.mark.parametrize("text", ["", "MemFree: 1 kB\n", "MemTotal\n", "MemTotal: many kB\n"])
def test_a_system_that_does_not_say(tmp_path: Path, text: str) -> None:
    with pytest.raises(DllmEdgeError, match="give --memory and --engine onnxruntime instead of --device"):
        this_machine(meminfo(tmp_path, text), measure=False)
    assert read_meminfo(tmp_path / "none") is None


def test_a_cpu_runs_onnxruntime() -> None:
    device = this_machine(measure=False)
    target = target_of(device)
    assert (target.engine, target.cpu) == ("onnxruntime", True)
    with pytest.raises(DllmEdgeError, match="--device cpu runs onnxruntime and no tensorrt: use --engine onnxruntime"):
        target_of(device, engine="tensorrt")
