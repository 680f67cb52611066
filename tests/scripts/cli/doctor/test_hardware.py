from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dllm_edge.scripts.cli.doctor import hardware
from dllm_edge.scripts.cli.doctor.hardware import Gpu, probe, run

from .machines import BARE, DATACENTER, DESKTOP, JETPACK_6, JETPACK_7, WITHOUT_DRIVER


def test_a_desktop(tmp_path: Path) -> None:
    found = probe(DESKTOP.write(tmp_path), DESKTOP.ask)
    assert found.gpus == (Gpu("NVIDIA GeForce RTX 4090", 24564 << 20, "8.9"),)
    assert (found.driver, found.cuda_driver, found.cuda_toolkit, found.cuda) == ("580.95.05", "13.0", "13.0.2", "13.0")
    assert (found.jetson, found.jetpack, found.power_mode, found.system_tensorrt) == (None, None, None, ())


def test_several_gpus_and_a_closed_driver(tmp_path: Path) -> None:
    found = probe(DATACENTER.write(tmp_path), DATACENTER.ask)
    assert [gpu.compute_capability for gpu in found.gpus] == ["8.0", "8.0"]
    assert (found.driver, found.cuda, found.cuda_toolkit) == ("550.127.08", "12.4", None)


def test_a_jetson_of_jetpack_6(tmp_path: Path) -> None:
    found = probe(JETPACK_6.write(tmp_path), JETPACK_6.ask)
    (gpu,) = found.gpus
    assert (gpu.memory, gpu.compute_capability) == (None, "8.7")
    assert found.jetson == "NVIDIA Jetson Orin NX Engineering Reference Developer Kit"
    assert (found.jetson_linux, found.jetpack, found.power_mode) == ("36.4.3", "6.2", "MAXN_SUPER")
    assert (found.driver, found.cuda, found.cuda_toolkit) == ("540.4.0", "12.6", "12.6.68")
    assert found.system_tensorrt == ("/usr/lib/python3.10/dist-packages/tensorrt",)


def test_a_jetson_of_jetpack_7_without_the_usual_tools(tmp_path: Path) -> None:
    found = probe(JETPACK_7.write(tmp_path), JETPACK_7.ask)
    assert (found.jetson_linux, found.jetpack, found.power_mode) == ("39.2.0", "7.2", "MODE_30W")
    assert (found.driver, found.cuda) == (None, None)


@pytest.mark.parametrize(
    ("release", "jetpack"),
    [("36.4.3", "6.2"), ("36.4.4", "6.2.1"), ("36.4.7", "6.2 family"), ("36.5", "6.2.2"), ("39.2", "7.2"), ("35.4.1", None)],
)
def test_releases(release: str, jetpack: str | None, tmp_path: Path) -> None:
    found = replace(probe(tmp_path, BARE.ask), jetson_linux=release)
    assert found.jetpack == jetpack


def test_a_machine_without_anything(tmp_path: Path) -> None:
    found = probe(tmp_path, BARE.ask)
    assert found == hardware.Hardware((), 0, None, None, None, None, None, None, ())


def test_a_gpu_that_no_driver_answers_for(tmp_path: Path) -> None:
    found = probe(WITHOUT_DRIVER.write(tmp_path), WITHOUT_DRIVER.ask)
    assert (found.gpus, found.nvidia_devices) == ((), 1)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("usr/local/cuda/version.json", "[]"),
        ("usr/local/cuda/version.json", "{"),
        ("proc/driver/nvidia/version", "\xff nothing"),
        ("etc/nv_tegra_release", "unknown"),
    ],
)
def test_files_that_say_something_else(path: str, text: str, tmp_path: Path) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(text, encoding="latin-1")
    found = probe(tmp_path, lambda _: "garbage, out")
    assert (found.gpus, found.driver, found.cuda) == ((), None, None)


def test_commands_that_are_missing_fail_or_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "PATIENCE_SECONDS", 0.5)
    assert run(["no-such-command-anywhere"]) is None
    assert run([sys.executable, "-c", "raise SystemExit(9)"]) is None
    assert run([sys.executable, "-c", "import time; time.sleep(60)"]) is None
    monkeypatch.setattr(hardware, "PATIENCE_SECONDS", 60)
    assert run([sys.executable, "-c", "print('here')"]) == "here\n"
