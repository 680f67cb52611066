"""A validation runs its levels in order, stops at the first that fails, and keeps its report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

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


def test_the_last_level_can_be_chosen(bundle: Path) -> None:
    assert [level.name for level in validate(TorchPair(bundle), level="structure").levels] == ["structure"]
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
