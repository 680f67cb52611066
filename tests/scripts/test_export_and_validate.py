from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from dllm_edge.export import parity
from dllm_edge.export.parity import Level, Report
from dllm_edge.scripts.export_and_validate import main

from ..tiny import write_tiny
from .conftest import parsed


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["export_and_validate", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


def test_export_and_all_levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, bundle = write_tiny(tmp_path / "checkpoint", "llada"), tmp_path / "bundle"
    assert not run(monkeypatch, checkpoint, bundle, "--flavour", "fused", "--json")
    report = parsed(capsys.readouterr().out)
    assert report["passed"] is True
    assert [level["name"] for level in report["levels"]] == list(parity.LEVELS)
    kept = json.loads((bundle / "reports" / "validate.json").read_text())
    assert kept["levels"] == report["levels"]


def test_a_level_that_fails_is_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Report("bundle", [Level("structure", False, ["step.onnx: an axis is gone"])], {})
    monkeypatch.setattr("dllm_edge.export.parity.validate.validate", lambda *_, **__: found)
    checkpoint = write_tiny(tmp_path / "checkpoint", "llada")
    assert run(monkeypatch, checkpoint, tmp_path / "bundle", "--flavour", "fused") == 1
    out = capsys.readouterr().out
    assert "structure FAILS" in out
    assert "an axis is gone" in out


def test_bad_input_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, tmp_path / "nowhere", tmp_path / "bundle") == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "bundle").exists()
