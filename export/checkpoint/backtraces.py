"""Keeping from the user what Rust prints of a panic that becomes an error of ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

STDERR = 2


@contextmanager
def without_backtraces() -> Iterator[None]:
    """Send what this process writes to its standard error to nowhere.

    Rust writes there whatever Python says, so the whole process is silent meanwhile: for short work of one thread.
    """
    kept = None
    with suppress(OSError):  # it may be closed
        kept = os.dup(STDERR)
    if kept is None:
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, STDERR)
        os.close(nowhere)
        yield
    finally:
        os.dup2(kept, STDERR)
        os.close(kept)
