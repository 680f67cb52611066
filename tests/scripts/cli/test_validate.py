from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

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
