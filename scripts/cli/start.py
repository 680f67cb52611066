"""The first module of the command line: it catches an interrupt that comes while the others are imported."""

from __future__ import annotations

import os
import signal

ENDINGS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


def leave(number: int, _: object) -> None:
    """End the process at once, with one line: nothing is there to be cleaned up, and an exception amid imports gets lost."""
    os.write(2, f"{ENDINGS[signal.Signals(number)]}\n".encode())
    os._exit(128 + number)


def main() -> None:
    """Import the command line and run it."""
    previous = {number: signal.getsignal(number) for number in ENDINGS}
    # One that is ignored, as under nohup, stays so.
    caught = [number for number, handler in previous.items() if handler is not signal.SIG_IGN]
    for number in caught:
        signal.signal(number, leave)
    from .main import main as run

    for number in caught:
        signal.signal(number, previous[number])
    try:
        run()
    except KeyboardInterrupt:
        leave(signal.SIGINT, None)


if __name__ == "__main__":
    main()
