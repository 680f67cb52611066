"""The first module of the command line: it catches an interrupt that comes while the others are imported."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread

ENDINGS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


def leave(number: int, _: object) -> None:
    """End the process at once, with one line: nothing is there to be cleaned up, and an exception amid imports gets lost."""
    os.write(2, f"{ENDINGS[signal.Signals(number)]}\n".encode())
    os._exit(128 + number)


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """While this lasts, a signal that ends the process does so by `leave`; one that is ignored, as under nohup, stays so."""
    here = current_thread() is main_thread()
    previous = {number: signal.getsignal(number) for number in ENDINGS if here}
    caught = {number: handler for number, handler in previous.items() if handler is not signal.SIG_IGN}
    for number in caught:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in caught.items():
            signal.signal(number, handler)


def main() -> None:
    """Import the command line and run it."""
    with leaving_at_once():
        from .main import main as run
    try:
        run()
    except KeyboardInterrupt:
        leave(signal.SIGINT, None)


if __name__ == "__main__":
    main()
