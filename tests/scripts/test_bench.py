from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dllm_edge.scripts.bench import DEFAULT_PARTS, PARTS, available, main
from dllm_edge.scripts.benchmarks import overhead, systems
from dllm_edge.scripts.checkpoints.random_llada import SCALES

from .conftest import parsed


def test_parts() -> None:
    assert set(available()) == set(PARTS)
    assert "export" not in DEFAULT_PARTS


@pytest.mark.parametrize(
    ("parts", "message"), [("step,luck", "unknown part 'luck': choose one of step"), (" ", "--parts ' ' names no part")]
)
def test_bad_parts_get_one_line(
    parts: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "--parts", parts])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


@pytest.fixture
def bench(bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Measure parts on a tiny bundle: what `--json` prints."""

    def run(parts: str, *options: str) -> dict[str, Any]:
        arguments = ["--bundle", str(bundle), "--threads", "1", "--parts", parts, "--json", *options]
        monkeypatch.setattr(sys, "argv", ["bench", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        return parsed(capsys.readouterr().out)

    return run


def numbers(data: dict[str, Any]) -> dict[str, Any]:
    return {finding["name"]: finding for part in data["parts"].values() for finding in part["findings"]}


def test_parts_about_systems(bench: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "GEN_LENGTH", 64)
    monkeypatch.setattr(systems, "GEN_LENGTHS", (32,))
    kept = tmp_path / "bench.json"
    data = bench("overhead,systems,accuracy,sparse", "--paired", "1", "--problems", "2", "--output", str(kept))
    assert parsed(kept.read_text()) == data
    parts, measured = data["parts"], numbers(data)
    assert measured["addresses of the cache in memory"]["met"] is True
    assert measured["block steps that changed the cache"]["met"] is True
    assert measured["block steps, 32 tokens"]["met"] is True
    assert [table["early_stop"] for table in parts["systems"]["tables"]] == [False, True]
    assert all(len(table["systems"]) == 12 for table in parts["systems"]["tables"])
    assert parts["accuracy"]["difference"]["samples"] == 2


def test_parts_about_a_large_model(bench: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCALES, "135m", SCALES["tiny"])
    measured = numbers(bench("step,memory"))
    assert measured["faster than torch, 256 cached"]["value"] > 0
    assert measured["faster than torch, 1024 cached"]["value"] > 0
    assert measured["weights"]["value"] < measured["peak resident memory"]["value"] < 1e9
    assert measured["caches"]["value"] == 2 * 3 * 4 * 16 * 512 * 4
