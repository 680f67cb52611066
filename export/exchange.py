"""Two paths that change places in one step, where the system and the file system have one for it."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

CURRENT_FOLDER = -100  # AT_FDCWD of <fcntl.h>
EXCHANGE = 2  # RENAME_EXCHANGE of <linux/fs.h>
# What renameat2 says where the kernel, the C library, the file system (NFS, some FUSE) or a container's filter of calls has
# no exchange; where a plain rename is not permitted either, that says so.
UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)


def exchanged(first: Path, second: Path) -> bool:
    """Exchange two paths that exist, on one file system; return False, with nothing done, where that is not supported.

    Raises `OSError` where it is and fails.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):  # glibc before 2.28, musl
        return False
    if library.renameat2(CURRENT_FOLDER, os.fsencode(first), CURRENT_FOLDER, os.fsencode(second), EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(first), None, str(second))
