"""A validation runs its levels in order, stops at the first that fails, and keeps its report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dllm_edge.export.parity.levels import keep
from dllm_edge.export.parity.report import Level, Report
from dllm_edge.export.parity.torch_pair import TorchPair
from dllm_edge.export.parity.validate import validate
from dllm_edge.graphs.errors import DllmEdgeError

from ...tiny import write_tiny


@pytest.fixture
def bundle(tiny_bundle: Callable[..., Path], tmp_path: Path) -> Path:
    return shutil.copytree(tiny_bundle("llada"), tmp_path / "bundle")


def test_all_levels(bundle: Path, tiny_bundle: Callable[..., Path]) -> None:
    stages: list[str] = []
    pair = TorchPair(bundle, tiny_bundle("llada").with_name("checkpoint"))
    report = validate(pair, progress=lambda stage, _share: stages.append(stage))
    assert report.passed
    assert [level.name for level in report.levels] == ["structure", "layers", "trajectory", "task"]
    assert list(dict.fromkeys(stages)) == ["structure", "layers", "trajectory", "task"]
    assert report.levels[3].data == {"skipped": True}
    assert json.loads((bundle / "reports" / "validate.json").read_text()) == report.to_json()


def test_a_level_can_be_left_out_for_a_reason(bundle: Path) -> None:
    structure, layers = validate(TorchPair(bundle), level="layers", skipped={"layers": "no time"}).levels
    assert structure.data != {"skipped": True}
    assert layers == Level("layers", True, ["not applicable: no time"], {"skipped": True}, layers.seconds)


def test_the_last_level_can_be_chosen(bundle: Path) -> None:
    (structure,) = validate(TorchPair(bundle), level="structure").levels
    assert structure.lines == ["names, axes, types, operators, hashes: as the contract has them"]
    with pytest.raises(DllmEdgeError, match="unknown level 'depth': choose one of structure, layers, trajectory, task"):
        validate(TorchPair(bundle), level="depth")


def test_weights_of_another_checkpoint_fail_at_the_layers(bundle: Path, tmp_path: Path) -> None:
    other = write_tiny(tmp_path / "other", "llada", seed=1)
    report = validate(TorchPair(bundle, other))
    assert not report.passed
    assert [level.name for level in report.levels] == ["structure", "layers"]
    assert "first bad output new_key_values.0" in report.levels[1].lines[0]


def test_a_flipped_byte_of_the_weights_is_an_error_before_any_level(bundle: Path) -> None:
    file = next((bundle / "weights").iterdir())
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    with pytest.raises(DllmEdgeError, match="SHA-256"):
        validate(TorchPair(bundle))


def test_room_is_not_made_where_none_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file in the place of the folder")
    report = Report(str(tmp_path), [], {})
    keep(report, tmp_path / "reports" / "validate.json")
    kept = f"{tmp_path}/reports/validate.json: the report is not kept, it cannot be written (File exists)"
    assert report.lost == f"{kept}: mend that and validate again"


def test_levels_that_are_not_run_again_are_kept(bundle: Path) -> None:
    file = bundle / "reports" / "validate.json"
    report = validate(TorchPair(bundle), level="layers")
    kept = report.to_json()
    kept["levels"][1]["seconds"] = 123.0
    file.write_text(json.dumps(kept))
    assert [level.name for level in validate(TorchPair(bundle), level="structure").levels] == ["structure"]
    assert [(level["name"], level["seconds"] == 123.0) for level in json.loads(file.read_text())["levels"]] == [
        ("structure", False),
        ("layers", True),
    ]
    file.write_text(json.dumps(kept | {"versions": {"torch": "1.0"}}))
    validate(TorchPair(bundle), level="structure")
    assert [level["name"] for level in json.loads(file.read_text())["levels"]] == ["structure"]


@pytest.mark.parametrize("text", ["", "[]", '{"levels": 1}', '{"levels": [1]}'])
def test_a_kept_report_that_cannot_be_read_is_replaced(text: str, tmp_path: Path) -> None:
    file = tmp_path / "validate.json"
    report = Report("bundle", [Level("structure", True, [])], {})
    kept = text.replace("{", f'{{"subject": "{report.subject}", "reference": "{report.reference}", "versions": {{}}, ', 1)
    file.write_text(kept)
    keep(report, file)
    assert json.loads(file.read_text()) == report.to_json()


def test_after_a_level_that_fails_nothing_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "validate.json"
    keep(Report("bundle", [Level("structure", True, []), Level("layers", False, [])], {}), file)
    keep(Report("bundle", [Level("structure", True, [])], {}), file)
    data = json.loads(file.read_text())
    assert ([level["name"] for level in data["levels"]], data["passed"]) == (["structure", "layers"], False)
    keep(Report("bundle", [Level("structure", False, [])], {}), file)
    assert [level["name"] for level in json.loads(file.read_text())["levels"]] == ["structure"]
