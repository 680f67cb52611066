from __future__ import annotations

from pathlib import Path

import pytest

from dllm_edge.runtime.evaluation import conditions


def test_the_code_is_known_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "PACKAGE", tmp_path)
    (tmp_path / "runtime").mkdir()
    (tmp_path / "graphs").mkdir()
    hashes = []
    for folder, name, text in [
        ("runtime", "a.py", "x = 1"),
        ("runtime", "a.py", "x = 2"),
        ("graphs", "a.py", "x = 1"),
        ("runtime", "b.py", ""),
        ("runtime", "a.txt", "not code"),
    ]:
        (tmp_path / folder / name).write_text(text)
        hashes.append(conditions.source_sha256.__wrapped__())
    assert len(set(hashes[:4])) == 4
    assert hashes[4] == hashes[3]
