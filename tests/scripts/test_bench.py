from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dllm_edge import DllmEdgeError
from dllm_edge.scripts.bench import DEFAULT_PARTS, PARTS, available, main, parse_parts
from dllm_edge.scripts.benchmarks import overhead, systems
from dllm_edge.scripts.benchmarks.finding import Finding

from .conftest import parsed


def test_parts() -> None:
    assert set(available()) == set(PARTS)
    assert parse_parts("step, memory") == ["step", "memory"]
    assert "export" not in DEFAULT_PARTS
    with pytest.raises(DllmEdgeError, match="unknown part 'luck': choose of step"):
        parse_parts("step,luck")
    with pytest.raises(DllmEdgeError, match="names nothing"):
        parse_parts(" ")


def test_findings_are_held_against_their_targets() -> None:
    assert [Finding.at_least("", value, 1.8).met for value in (1.79, 1.8)] == [False, True]
    assert [Finding.at_most("", value, 1.3).met for value in (1.3, 1.31)] == [True, False]


def test_the_parts_on_a_tiny_bundle(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(overhead, "GEN_LENGTH", 64)
    monkeypatch.setattr(systems, "GEN_LENGTHS", (32,))
    kept = tmp_path / "bench.json"
    options = ["--paired", "1", "--problems", "2", "--threads", "1", "--output", str(kept), "--json"]
    arguments = ["--bundle", str(bundle), "--parts", "overhead,systems,accuracy,sparse", *options]
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    data = parsed(capsys.readouterr().out)
    assert not end.value.code
    assert parsed(kept.read_text()) == data
    parts = data["parts"]
    found = {finding["name"]: finding for part in parts.values() for finding in part["findings"]}
    assert found["places of the cache in memory"]["met"] is True
    assert found["block steps that changed the cache"]["met"] is True
    assert found["block steps, 32 tokens"]["met"] is True
    assert [table["early_stop"] for table in parts["systems"]["tables"]] == [False, True]
    assert all(len(table["systems"]) == 12 for table in parts["systems"]["tables"])
    assert parts["accuracy"]["difference"]["samples"] == 2
