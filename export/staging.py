"""A folder that appears whole or not at all: written beside its path, moved there at the end.

What lies beside a path `b` says by its name what it is, so that whoever comes after a process that was killed knows what to do:

- `.b.partial-PID` is on its way in or out, and is removed;
- `.b.replaced-PID` is whole: it was moved out of the way where two paths cannot change places in one step, and comes back
  unless there is a new one at `b`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from typing import BinaryIO

from ..graphs.errors import DllmEdgeError
from ..graphs.whole_file import FULL
from ..runtime.bundle.manifest import MANIFEST
from .exchange import exchanged


@dataclass(frozen=True)
class Content:
    """What a folder is, and what writes it, as messages call them.

    A folder is one of these if it holds the file `mark`, or nothing but `files` (patterns), whatever of them is missing.
    """

    name: str
    work: str
    mark: str
    files: tuple[str, ...] = ()

    def holds(self, folder: Path) -> bool:
        """Return whether `folder` is one, or what is left of one."""
        if not folder.is_dir():
            return False
        names = [entry.name for entry in folder.iterdir()]
        return self.mark in names or all(any(fnmatchcase(name, file) for file in self.files) for name in names)


BUNDLE = Content("bundle", "export", MANIFEST)


@contextmanager
def staged(path: Path, overwrite: bool = False, content: Content = BUNDLE) -> Iterator[Path]:
    """A new folder to write into, which becomes `path` when the block ends and vanishes if it raises.

    One process at a time may stage a path. What a killed one left is removed by the next. With `overwrite`, what is at
    `path` is replaced once the new one is complete: whatever interrupts it, the old one or the new one is there, whole. A
    symbolic link is followed. Raises `DllmEdgeError` where `path` is taken or cannot be written.
    """
    path = Path(os.path.realpath(path))
    with _failures(path, content), _locked(path, content):
        _tidy(path)
        _check_free(path, overwrite, content)
        partial = _beside_name(path, "partial")
        try:
            partial.mkdir()
            yield partial
            _sync(partial)
            _move(partial, path)
        finally:
            # What cannot be removed now is the next one's to remove; this one's own error matters more.
            with suppress(OSError):
                _tidy(path)


def check_space(folder: Path, needed: int, otherwise: str = "") -> None:
    """Raise `DllmEdgeError` unless the file system of `folder` has `needed` bytes free; `otherwise` is what else would do."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DllmEdgeError(
            f"{folder.parent}: the bundle needs {needed / 1e6:,.0f} MB, the disk has {free / 1e6:,.0f} MB free: "
            f"make room, or choose another disk{otherwise}"
        )


def _check_parent(path: Path, content: Content) -> None:
    if not path.parent.is_dir():
        raise DllmEdgeError(f"{path.parent}: there is no such folder: make it, or choose another path for the {content.name}")


def _check_free(path: Path, overwrite: bool, content: Content) -> None:
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not content.holds(path):
        raise DllmEdgeError(f"{path}: already exists and is no {content.name}: move it away")
    if not overwrite:
        raise DllmEdgeError(f"{path}: already holds a {content.name}: give --overwrite to replace it, or choose another path")


@contextmanager
def _failures(path: Path, content: Content) -> Iterator[None]:
    """Turn errors of the operating system into one line that says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in FULL:
            raise DllmEdgeError(
                f"{path}: cannot be written, the disk is full ({reason}): make room and {content.work} again"
            ) from error
        raise DllmEdgeError(f"{error.filename or path}: {reason}: choose a path that can be written") from error


@contextmanager
def _locked(path: Path, content: Content) -> Iterator[None]:
    """Hold a lock file beside `path`; the kernel gives the lock back whatever happens to the process."""
    _check_parent(path, content)
    lock = path.with_name(f".{path.name}.lock")
    while True:
        with _opened(lock, path) as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DllmEdgeError(
                    f"{path}: another {content.work} to this path is running: wait until it has ended"
                ) from error
            if not _is_at(stream.fileno(), lock):
                continue
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def _opened(lock: Path, path: Path) -> BinaryIO:
    try:
        return lock.open("ab")
    except OSError as error:
        # Nobody but this module knows of the lock.
        error.filename = str(path)
        raise


def _is_at(descriptor: int, lock: Path) -> bool:
    """Return whether the open file still has its name: who held the lock before has unlinked it, and a lock on a file without
    a name keeps nobody out."""
    with suppress(FileNotFoundError):
        return os.fstat(descriptor).st_ino == lock.stat().st_ino
    return False


def _tidy(path: Path) -> None:
    """Under the lock, remove what is staged for `path`, and put back what was moved out of the way of nothing."""
    for partial in _beside(path, "partial"):
        _remove(partial)
    for replaced in _beside(path, "replaced"):
        if _occupied(path):
            # Under its own name, one whose removal is interrupted would be taken for whole.
            _remove(replaced.rename(_beside_name(path, "partial")))
        else:
            replaced.rename(path)


def _beside(path: Path, role: str) -> list[Path]:
    return list(path.parent.glob(f".{escape(path.name)}.{role}-*"))


def _beside_name(path: Path, role: str) -> Path:
    return path.with_name(f".{path.name}.{role}-{os.getpid()}")


def _remove(staged: Path) -> None:
    if staged.is_dir():
        shutil.rmtree(staged)
    else:
        staged.unlink()


def _occupied(path: Path) -> bool:
    return path.is_dir() and any(path.iterdir())


def _move(partial: Path, path: Path) -> None:
    """Move the new folder to `path`, and what is there to a name beside it; durable when this returns."""
    if not _occupied(path):
        partial.rename(path)
    elif not exchanged(partial, path):
        path.rename(_beside_name(path, "replaced"))
        partial.rename(path)
    _sync_folder(path.parent)


def _sync(folder: Path) -> None:
    """Make everything in `folder` durable, so that a name never outlives a power cut that its content did not."""
    for inner, _, files in os.walk(folder, onerror=_raise):
        for name in files:
            descriptor = os.open(os.path.join(inner, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        _sync_folder(Path(inner))


def _raise(error: OSError) -> None:
    raise error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
