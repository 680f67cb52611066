"""Opening files that users bring: regular ones only, since opening a pipe or reading a device may never end."""

from __future__ import annotations

import errno
import os
import stat
from io import FileIO
from pathlib import Path

SMALL = 16 << 20
"""Bytes that no configuration, manifest, list of tensors or report comes near."""


def open_regular(file: Path) -> FileIO:
    """Open a file for reading without a buffer; raises `OSError`, also for folders, pipes, sockets and devices."""
    # Looked at before it is opened, which a device may take as an order, and after, when it cannot become another.
    _check_regular(os.stat(file), file)
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check_regular(os.fstat(descriptor), file)
        return FileIO(descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def read_small(file: Path, most: int = SMALL) -> bytes:
    """Return the content of a regular file of at most `most` bytes; raises `OSError` for any other."""
    with open_regular(file) as stream:
        size = os.fstat(stream.fileno()).st_size
        content = b"" if size > most else stream.read(most + 1)
    if max(size, len(content)) > most:
        raise OSError(errno.EFBIG, f"it has {max(size, len(content))} bytes, which is too large for its kind", str(file))
    return content


def _check_regular(state: os.stat_result, file: Path) -> None:
    if stat.S_ISDIR(state.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder, not a file", str(file))
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe, a socket or a device, not a regular file", str(file))
