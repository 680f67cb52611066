from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from dllm_edge import DllmEdgeError
from dllm_edge.scripts.cli.terminal import prompts
from dllm_edge.scripts.cli.terminal.prompts import read_prompt


@pytest.fixture
def _stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"Wie weit?\n")))


@pytest.mark.parametrize(
    ("text", "prompt"), [("Hi", "Hi"), (" Hi \n", " Hi \n"), ("@@home", "@home"), ("a@b", "a@b"), ("--", "--")]
)
def test_text(text: str, prompt: str) -> None:
    assert read_prompt(text) == prompt


@pytest.mark.usefixtures("_stdin")
def test_standard_input() -> None:
    assert read_prompt("-") == "Wie weit?"


def test_standard_input_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has none then."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(DllmEdgeError, match="the prompt is empty"):
        read_prompt("-")


@pytest.mark.parametrize(("content", "prompt"), [(b"Hi", "Hi"), (b"a\nb\r\n", "a\nb"), (b"a\n\n", "a\n")])
def test_a_file(content: bytes, prompt: str, tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_bytes(content)
    assert read_prompt(f"@{tmp_path}/prompt.txt") == prompt


def test_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("from a process",))
    writer.start()
    assert read_prompt(f"@{pipe}") == "from a process"
    writer.join()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing", None, "cannot be read \\(No such file or directory\\): name a file, or write @@"),
        (".", None, "cannot be read \\(Is a directory\\)"),
        ("latin", "Grüße".encode("latin-1"), "latin: byte 2 is no UTF-8: save"),
        ("blank", b" \n", "the prompt is empty"),
        ("long", b"x" * 101, "long: a prompt of more than"),
    ],
)
def test_what_is_no_prompt(
    name: str, content: bytes | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompts, "LARGEST", 100)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DllmEdgeError, match=message):
        read_prompt(f"@{tmp_path}/{name}")
