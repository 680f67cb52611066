"""Hashes of files, remembered once they were verified: weights of many gigabytes are not read again at each start."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ...graphs.whole_file import write_whole
from .cache_folder import cache_folder
from .regular_file import open_regular, read_small

CHUNK = 4 << 20


def has_sha256(file: Path, state: os.stat_result, sha256: str, *, reread: bool = False) -> bool:
    """Return whether the content of `file` has this hash, and remember it where it has.

    `state` is that of the file. The file is read where no such hash is remembered of it, and with `reread`. Raises `OSError`.
    """
    if not reread and recall(state) == sha256:
        return True
    if sha256_of(file) != sha256:
        return False
    remember(state, sha256)
    return True


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, read through one small buffer; raises `OSError`."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(CHUNK))
    with open_regular(file) as stream:
        while count := stream.readinto(buffer):
            digest.update(buffer[:count])
    return digest.hexdigest()


def recall(state: os.stat_result) -> str | None:
    """Return the hash that a file of this identity, size and time had when it was last read, or None."""
    try:
        return read_small(_memory_path(state), most=64).decode("ascii")
    except (OSError, ValueError):
        return None


def remember(state: os.stat_result, sha256: str) -> None:
    """Keep a file's hash for `recall`; without a word where the user's cache folder cannot be written."""
    path = _memory_path(state)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, sha256, durable=False)
    except OSError:
        return


def _memory_path(state: os.stat_result) -> Path:
    """Return where the hash of a file in this state is kept."""
    identity = f"{state.st_dev}-{state.st_ino}-{state.st_size}-{state.st_mtime_ns}"
    return cache_folder() / "verified" / identity
