"""Interrupting work on files at each of its operations in turn: by an exception, or by killing a child process."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from dllm_edge.graphs.errors import DllmEdgeError

OPERATIONS = {
    os: "open close fsync rename replace mkdir rmdir unlink stat lstat fstat scandir listdir".split(),
    io: ["open"],
    fcntl: ["flock"],
}
Failure = Callable[[], None]
Work = Callable[[], None]


def disk_error() -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def interrupt() -> None:
    raise KeyboardInterrupt


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Interruption:
    """Calls `failure` at one operation, before or after it is done; counts all that are done while it is `armed`."""

    def __init__(self, number: int, failure: Failure, afterwards: bool) -> None:
        self.number, self.failure, self.afterwards = number, failure, afterwards
        self.done, self.armed = 0, True

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        for module, names in OPERATIONS.items():
            for name in names:
                patch.setattr(module, name, self.counted(getattr(module, name)))

    def counted(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            self.done += self.armed
            due = self.armed and self.done == self.number
            if due and not self.afterwards:
                self.failure()
            try:
                return operation(*arguments, **options)
            finally:
                if due and self.afterwards:
                    self.failure()

        return run

    @contextmanager
    def resting(self) -> Iterator[None]:
        self.armed = False
        yield
        self.armed = True


def operations_of(work: Callable[[Interruption], None]) -> int:
    """How many operations an undisturbed run takes."""
    interruption = Interruption(0, interrupt, False)
    with pytest.MonkeyPatch.context() as patch:
        interruption.patch(patch)
        work(interruption)
    return interruption.done


def interrupted(work: Callable[[Interruption], None], number: int, failure: Failure, afterwards: bool) -> None:
    """Run `work` with a failure at one operation; a kill is that of a child process.

    An exception need not come out: nothing may depend on the operation, or Python's own cleaning up may raise another.
    """
    interruption = Interruption(number, failure, afterwards)
    if failure is kill:
        in_child(lambda: _run(work, interruption))
        return
    with suppress(DllmEdgeError, KeyboardInterrupt):
        _run(work, interruption)
    assert interruption.done >= number


def _run(work: Callable[[Interruption], None], interruption: Interruption) -> None:
    with pytest.MonkeyPatch.context() as patch:
        interruption.patch(patch)
        work(interruption)


def in_child(work: Work) -> None:
    """Run `work` in a child, which must be killed by it."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def every_operation(work: Callable[[Interruption], None], prepare: Work, failure: Failure) -> Iterator[tuple[int, bool]]:
    """Yield each operation of `work`, and whether to fail after it; `prepare` is done before each.

    A kill after one operation is a kill before the next.
    """
    prepare()
    total = operations_of(work)
    for number in range(1, total + 1):
        for afterwards in (False, True) if failure is not kill else (number == total,):
            prepare()
            yield number, afterwards
