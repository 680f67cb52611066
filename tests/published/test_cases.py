from __future__ import annotations

import json
from pathlib import Path

import pytest

from .cases import FULL, SELECTIONS, Json, read_cases
from .selection import LOGGED, reduced, selected

LARGEST = 300_000  # bytes of all selections together


def full_file() -> Json:
    case: Json = {"checkpoint": "tiny", "prompt": 1, "settings": {"block_length": 8}, "generated_ids": [4, 5], "forwards": 1}
    return {
        "system": "Paper",
        "prompts": [[1, 2], [3]],
        "cases": [{**case, "order": [[1, 2]]}, {**case, "prompt": 0, "order": []}],
    }


def test_selections_are_small() -> None:
    assert 0 < sum(path.stat().st_size for path in SELECTIONS.glob("*.json")) < LARGEST


def test_a_folder_of_full_files_stands_in_for_the_selections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "paper.json").write_text(json.dumps(full_file()))
    monkeypatch.setenv(FULL, str(tmp_path))
    first, second = read_cases("paper")
    assert (str(first), first.prompt, first.ids, first.changes) == ("paper-0", [3], [3, 4, 5], [{1: None, 2: None}])
    assert (str(second), second.prompt) == ("paper-1", [1, 2])


def test_a_selection_has_every_value_of_every_setting() -> None:
    cases = [{"forwards": index, "settings": {"steps": index // 8, "block_length": index % 2}} for index in range(16)]
    chosen = [cases[index]["settings"] for index in selected(cases, 2)]
    assert chosen == [{"steps": 0, "block_length": 0}, {"steps": 1, "block_length": 1}]
    assert selected(cases, 20) == list(range(16))


def test_long_logs_of_changes_are_cut_and_hashed() -> None:
    case: Json = {"changes": [[[1], [2]]] * (LOGGED + 1), "steps_sha256": "hash", "margins": {}}
    assert reduced(case) == {"changes": [[[1], [2]]] * LOGGED, "log_cut": True, "steps_sha256": "hash"}
    before: Json = {"changes": [[[1], [2]]] * LOGGED, "log_cut": True, "steps_sha256": "hash"}
    assert reduced(before) == before, "a log that was cut before stays one"
    assert reduced({**case, "changes": case["changes"][:LOGGED]}) == {"changes": [[[1], [2]]] * LOGGED}
