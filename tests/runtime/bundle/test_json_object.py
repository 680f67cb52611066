from __future__ import annotations

from pathlib import Path

import pytest

from dllm_edge.runtime.bundle.json_object import read_strict


def test_an_object_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text('{"a": [1, 2.5, "é", null, true, 1e300]}', encoding="utf-8")
    assert read_strict(tmp_path / "file") == {"a": [1, 2.5, "é", None, True, 1e300]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is not valid JSON"),
        (b"{", "it is not valid JSON"),
        (b"\xff", "it is not valid JSON"),
        (b"[]", "it is no JSON object"),
        (b'{"a": NaN}', "NaN is no number of JSON"),
        (b'{"a": -Infinity}', "-Infinity is no number of JSON"),
        (b'{"a": 1e999}', "a number is too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "it is not valid JSON"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "it is nested too deeply"),
    ],
)
def test_what_is_no_object_of_json(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_strict(tmp_path / "file")
