"""Permissions of files that hold for root, too, so that tests of what is read-only mean the same whoever runs them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

# linux/capability.h
VERSION = 0x20080522
DAC_OVERRIDE, DAC_READ_SEARCH = 1, 2


@contextmanager
def permissions_hold() -> Iterator[None]:
    """Take from this thread, while the block runs, root's right to read and write whatever it likes; others have none."""
    if os.geteuid():
        yield
        return
    kernel, header = ctypes.CDLL(None, use_errno=True), (ctypes.c_uint32 * 2)(VERSION, 0)
    # Two sets of three words: what is effective now, what may be made so, what is inherited.
    before = (ctypes.c_uint32 * 6)()
    checked(kernel.capget(header, before))
    bound = (ctypes.c_uint32 * 6)(*before)
    bound[0] &= ~(1 << DAC_OVERRIDE | 1 << DAC_READ_SEARCH)
    checked(kernel.capset(header, bound))
    try:
        yield
    finally:
        checked(kernel.capset(header, before))


def checked(status: int) -> None:
    if status:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
