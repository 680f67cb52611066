"""Signals that end a process: they unwind it as Ctrl-C does, so that whatever is staged is removed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import NoReturn

# Of a supervisor, and of a terminal that goes away.
ENDING = (signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 128 + signal.SIGINT
WORDS = {128 + number: "terminated" for number in ENDING} | {INTERRUPTED: "interrupted"}


class Ended(SystemExit):
    """A signal has come; the exit code is 128 and its number, as shells have it."""


@contextmanager
def unwinding() -> Iterator[None]:
    """While this lasts, SIGTERM and SIGHUP raise `Ended` once; what comes while that cleans up is ignored."""
    here = current_thread() is main_thread()
    caught = {number: signal.getsignal(number) for number in ENDING if here}
    caught = {number: handler for number, handler in caught.items() if handler is signal.SIG_DFL}
    for number in caught:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in caught.items():
            signal.signal(number, handler)


def _end(number: int, _: object) -> NoReturn:
    for other in ENDING:
        signal.signal(other, signal.SIG_IGN)
    raise Ended(128 + number)


def say_ending(code: object) -> None:
    """Print in one line what signal ended the command, if one has."""
    if isinstance(code, int) and code in WORDS:
        print(WORDS[code], file=sys.stderr)
