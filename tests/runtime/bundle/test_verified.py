from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from dllm_edge.runtime.bundle import verified
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.bundle.verified import has_sha256, recall, remember, sha256_of

from .written import WEIGHTS, flip, refusal


def test_the_weights_hash_is_checked_once_and_again_where_asked(folder: Path) -> None:
    Bundle.open(folder)
    flip(folder / WEIGHTS)
    Bundle.open(folder)  # identity, size and time are what they were
    assert "its content changed" in refusal(folder, verify=True)
    os.utime(folder / WEIGHTS)
    assert "its content changed" in refusal(folder)


def test_a_copy_is_read_again(folder: Path) -> None:
    Bundle.open(folder)
    flip(folder / WEIGHTS)
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    assert "its content changed" in refusal(copy)


@pytest.mark.parametrize("unwritable", ["/dev/null/cache", "/proc/self/cache"])
def test_a_cache_that_cannot_be_written_costs_only_time(folder: Path, monkeypatch: pytest.MonkeyPatch, unwritable: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", unwritable)
    Bundle.open(folder)
    assert recall((folder / WEIGHTS).stat()) is None
    flip(folder / WEIGHTS)
    assert "its content changed" in refusal(folder)


def test_a_hash_is_of_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verified, "CHUNK", 4)
    for content in (b"", b"abc", b"abcd", b"abcdefghij"):
        (tmp_path / "file").write_bytes(content)
        assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_a_hash_is_remembered_until_the_file_changes(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"weights")
    state, sha256 = file.stat(), sha256_of(file)
    assert recall(state) is None
    remember(state, sha256)
    assert recall(state) == sha256
    assert [path.parent for path in cache.rglob("*") if path.is_file()] == [cache / "dllm-edge" / "verified"]
    os.utime(file, ns=(0, 0))
    assert recall(file.stat()) is None


def test_a_pipe_is_neither_hashed_nor_remembered(tmp_path: Path, cache: Path) -> None:
    file, state = tmp_path / "file", os.stat(__file__)
    os.mkfifo(file)
    with pytest.raises(OSError, match="it is a pipe"):
        sha256_of(file)
    remember(state, "0" * 64)
    (memory,) = (path for path in cache.rglob("*") if path.is_file())
    memory.unlink()
    os.mkfifo(memory)
    assert recall(state) is None


def test_only_what_was_found_to_be_right_is_remembered(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"weights")
    state, sha256 = file.stat(), sha256_of(file)
    assert not has_sha256(file, state, "0" * 64)
    assert recall(state) is None
    assert has_sha256(file, state, sha256)
    flip(file)
    assert has_sha256(file, state, sha256)
    assert not has_sha256(file, state, sha256, reread=True)
