"""Python buffers for TensorRT to read.

The bindings of 10.3 take hold of a buffer, and let go of it, without the interpreter's lock (later ones with it). So it has to
be an object that no other thread knows, of a kind that neither allocates nor raises then: a memory map or a bytearray of our
own. `b""` is one object for all threads, and arrays allocate.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...bundle.regular_file import open_regular


@contextmanager
def mapped_file(path: Path) -> Iterator[mmap.mmap]:
    """Map a file to read: on a device whose GPU shares the host's memory, a copy would take its room twice.

    Raises `OSError`, as `open_regular` does.
    """
    with open_regular(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content


def own_bytes(path: Path) -> bytearray:
    """Return the bytes of a file, none where there is no such file."""
    return bytearray(path.read_bytes() if path.is_file() else b"")
