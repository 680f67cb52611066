from __future__ import annotations

from pathlib import Path

import pytest

from dllm_edge.scripts.cli.doctor.command import ABILITIES

from ...conftest import Command, parsed


def test_doctor_finds_what_this_machine_has(command: Command) -> None:
    code, out, _ = command("doctor", "--json")
    data = parsed(out)
    assert code == 0
    assert data["ok"] is True
    assert {check["name"] for check in data["checks"] if check["required"]} >= {"Python", "numpy", "engine onnxruntime"}
    code, out, _ = command("doctor")
    assert (code, "polygraphy" in out) == (0, True)


def test_every_need_is_a_check(tmp_path: Path, command: Command) -> None:
    data = parsed(command("doctor", "--json")[1])
    names = {check["name"] for check in data["checks"]}
    assert {need for needs in ABILITIES.values() for need in needs} <= names
    assert set(data["works"]) | set(data["lacks"]) == set(ABILITIES)
    assert "decode on the CPU" in data["works"]
    assert set(data["hardware"]) >= {"gpus", "driver", "jetson", "jetpack"}


def test_the_summary_closes_the_report(command: Command) -> None:
    out = command("doctor")[1]
    assert "works here: decode on the CPU" in out


def test_a_hanging_tool_stops_nothing(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slow = tmp_path / "nvidia-smi"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("dllm_edge.scripts.cli.doctor.hardware.PATIENCE_SECONDS", 0.3)
    code, out, _ = command("doctor", "--json")
    assert code == 0
    assert parsed(out)["hardware"]["cuda_driver"] is None
