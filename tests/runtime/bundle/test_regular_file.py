from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from dllm_edge.runtime.bundle.regular_file import open_regular, read_small

OTHER = "it is a pipe, a socket or a device, not a regular file"


def test_a_regular_file_is_read_through_links_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        assert read_small(tmp_path / name, most=7) == b"content"
        with open_regular(tmp_path / name) as stream:
            assert stream.read() == b"content"


@pytest.mark.parametrize("kind", ["pipe", "socket", "/dev/zero", "/dev/tty", "link to a device"])
def test_whatever_may_block_or_never_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's address is short
    file = Path(kind) if kind.startswith("/") else tmp_path / "file"
    with socket.socket(socket.AF_UNIX) as listener:
        if kind == "pipe":
            os.mkfifo(file)
        elif kind == "socket":
            listener.bind("file")
        elif not kind.startswith("/"):
            file.symlink_to("/dev/zero")
        for read in (open_regular, read_small):
            with pytest.raises(OSError, match=OTHER) as caught:
                read(file)
            assert caught.value.strerror == OTHER


def test_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="it is a folder, not a file"):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "nothing")


def test_a_pipe_that_takes_the_place_of_a_file_while_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, regular = tmp_path / "file", os.stat(__file__)
    os.mkfifo(file)
    monkeypatch.setattr(os, "stat", lambda _: regular)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=OTHER):
        open_regular(file)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_too_large_for_its_kind_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345678")
    assert read_small(tmp_path / "file", most=8) == b"12345678"
    with pytest.raises(OSError, match="it has 8 bytes, which is too large for its kind"):
        read_small(tmp_path / "file", most=7)


def test_a_file_of_the_kernel_that_states_no_size_is_read() -> None:
    assert b"Name:" in read_small(Path("/proc/self/status"))
    with pytest.raises(OSError, match="it has 17 bytes"):
        read_small(Path("/proc/self/status"), most=16)
