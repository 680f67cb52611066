"""The first module of the command line: it catches an interrupt that comes while the others are imported.

It imports as little as it can, since nothing catches what comes before.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any as Handler

ENDINGS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


def leave(number: int, _: object) -> None:
    """End the process at once, with one line: nothing is there to be cleaned up, and an exception amid imports gets lost."""
    os.write(2, f"{ENDINGS[signal.Signals(number)]}\n".encode())
    os._exit(128 + number)


class LeavingAtOnce:
    """While this lasts, a signal that ends the process does so by `leave`; one that is ignored, as under nohup, stays so.

    Threads other than the first cannot change that, and do not.
    """

    def __enter__(self) -> None:
        handlers: dict[signal.Signals, Handler] = {number: signal.getsignal(number) for number in ENDINGS}
        self.caught = {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}
        self._handle(dict.fromkeys(self.caught, leave))

    def __exit__(self, *_: object) -> None:
        self._handle(self.caught)

    def _handle(self, handlers: dict[signal.Signals, Handler]) -> None:
        try:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        except ValueError:
            return


def main() -> None:
    """Import the command line and run it."""
    with LeavingAtOnce():
        from .main import main as run
    try:
        run()
    except KeyboardInterrupt:
        leave(signal.SIGINT, None)


if __name__ == "__main__":
    main()
