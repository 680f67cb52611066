"""A folder that appears whole or not at all: written beside its path, moved there at the end."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path

from ..graphs.errors import DllmEdgeError
from ..runtime.bundle.manifest import MANIFEST

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
    `path` is replaced once the new one is complete. Raises `DllmEdgeError` where `path` is taken or cannot be written.
    """
    path = path.absolute()
    _check_parent(path, content)
    with _failures(path, content), _locked(path, content):
        _recover(path)
        _check_free(path, overwrite, content)
        partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
        partial.mkdir()
        try:
            yield partial
            _sync(partial)
            _replace(partial, path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def check_space(folder: Path, needed: int) -> None:
    """Raise `DllmEdgeError` unless the file system of `folder` has `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DllmEdgeError(
            f"{folder.parent}: the bundle needs {needed / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB free: "
            "make room, choose another disk, or use --link"
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
    lock = path.with_name(f".{path.name}.lock")
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise DllmEdgeError(f"{path}: another {content.work} to this path is running: wait until it has ended") from error
        # Whoever held it before has unlinked the file: the lock on a file without a name keeps nobody out.
        with suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == lock.stat().st_ino:
                break
        os.close(descriptor)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _recover(path: Path) -> None:
    """Under the lock, whatever else is staged for `path` is left of a process that was killed."""
    for replaced in path.parent.glob(f".{escape(path.name)}.replaced-*"):
        if path.exists():
            shutil.rmtree(replaced)
        else:
            replaced.rename(path)
    for partial in path.parent.glob(f".{escape(path.name)}.partial-*"):
        shutil.rmtree(partial)


def _replace(partial: Path, path: Path) -> None:
    replaced = path.with_name(f".{path.name}.replaced-{os.getpid()}")
    occupied = path.is_dir() and any(path.iterdir())
    if occupied:
        path.rename(replaced)
    partial.rename(path)
    _sync_folder(path.parent)
    if occupied:
        shutil.rmtree(replaced, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Make everything in `folder` durable, so that a name never outlives a power cut that its content did not."""
    for inner, _, files in os.walk(folder):
        for name in files:
            descriptor = os.open(os.path.join(inner, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        _sync_folder(Path(inner))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
