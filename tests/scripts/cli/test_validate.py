from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ...tiny import write_tiny
from ..conftest import Command, parsed


def test_validate_reports_its_levels(command: Command, bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    code, out, _ = command("validate", copy, "--level", "layers", "--json")
    report = parsed(out)
    assert code == 0
    assert report["passed"] is True
    assert [level["name"] for level in report["levels"]] == ["structure", "layers"]
    assert json.loads((copy / "reports" / "validate.json").read_text())["passed"] is True


def test_validate_holds_an_engine_against_the_cpu(command: Command, tiny_bundle: Callable[..., Path], tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_bundle("llada", "float16"), tmp_path / "copy")
    options = ("--engine", "onnxruntime", "--device", "cpu", "--compute", "float16", "--level", "layers")
    code, out, _ = command("validate", copy, *options, "--json")
    report = parsed(out)
    assert code == 0
    assert [level["name"] for level in report["levels"]] == ["structure", "layers"]
    assert report["reference"] == "ONNX Runtime on a CPU in float32"
    code, out, _ = command("validate", copy, *options)
    assert code == 0
    assert "onnxruntime in float16 against ONNX Runtime on a CPU in float32" in out
    code, _, err = command("validate", copy, *options, "--checkpoint", tmp_path)
    assert code == 2
    assert "--checkpoint is for the validation against torch" in err


def test_validate_fails_against_other_weights(command: Command, bundle: Path, tmp_path: Path) -> None:
    copy, other = shutil.copytree(bundle, tmp_path / "copy"), write_tiny(tmp_path / "other", "llada", seed=1)
    code, out, _ = command("validate", copy, "--level", "layers", "--checkpoint", other)
    assert code == 1
    assert "layers FAILS" in out


def test_a_report_that_cannot_be_written_is_printed_and_the_old_one_stays(
    command: Command, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    file = copy / "reports" / "validate.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text("old")

    def failing(number: int) -> None:
        def fail(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fail)

    failing(errno.ENOSPC)
    code, out, err = command("validate", copy, "--level", "structure", "--json")
    assert (code, parsed(out)["passed"]) == (2, True)
    assert "the report is not kept, it cannot be written (No space left on device): make room and validate again" in err
    assert file.read_text() == "old"
    assert [entry.name for entry in file.parent.iterdir()] == ["validate.json"]
    failing(errno.EROFS)
    code, out, err = command("validate", copy, "--level", "structure", "--json")
    assert (code, parsed(out)["passed"]) == (0, True)
    assert err.startswith("warning: ")
    assert file.read_text() == "old"
