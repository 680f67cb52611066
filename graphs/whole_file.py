"""Writing a file so that it has all of its new content, or what it had before."""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where there is no room for a file: on the disk, by the user's share of it, or by a limit of its size."""


def write_whole(file: Path, content: str | bytes | memoryview, *, durable: bool = True) -> None:
    """Write `content`, text as UTF-8, beside `file` and move it there.

    The content is on the disk before it has the name, unless `durable` is false: for a folder that is synced later, or what
    may be lost. A symbolic link is followed, and what is no regular file (a pipe, a terminal) is written to as it is. Raises
    `OSError` with the name of `file` where writing fails; its old content is still there then.
    """
    data = content.encode() if isinstance(content, str) else content
    file = Path(file)
    try:
        if file.exists() and not file.is_file():
            file.write_bytes(data)
        else:
            _replace(Path(os.path.realpath(file)), data, durable)
    except OSError as error:
        error.filename, error.filename2 = str(file), None
        raise


def write_json(file: Path, data: Any, *, durable: bool = True) -> None:
    """Write `data` as JSON that people can read; otherwise as `write_whole`."""
    write_whole(file, json.dumps(data, indent=1) + "\n", durable=durable)


def _replace(file: Path, data: bytes | memoryview, durable: bool) -> None:
    partial = file.with_name(f".{file.name}.partial-{uuid4().hex[:8]}")
    try:
        with partial.open("xb") as stream:
            stream.write(data)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        partial.replace(file)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
