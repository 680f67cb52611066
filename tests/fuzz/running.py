"""Running a command line as a user would, and what must hold of its end whatever it was given."""

from __future__ import annotations

import io
import json
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from dllm_edge.scripts.cli.main import main

# Far above what any of these commands takes on a busy machine.
PATIENCE_SECONDS = 60


class Hang(BaseException):
    """Nothing ended in time; no `except Exception` may take it for another failure."""


@contextmanager
def no_hang(seconds: int = PATIENCE_SECONDS) -> Iterator[None]:
    """Raise `Hang` where the block takes longer."""

    def ring(*_: object) -> None:
        raise Hang(f"still running after {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Run a command line in this process: exit code, stdout, stderr."""
    out, err = io.StringIO(), io.StringIO()
    code: object = None
    with no_hang(), warnings.catch_warnings(), redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code or 0
    assert isinstance(code, int), "a command line ends by SystemExit"
    return code, out.getvalue(), err.getvalue()


def orderly(*arguments: str | Path) -> bool:
    """Run a command line that must end well or with one line that says why not; return whether it ended well."""
    code, out, err = run(*arguments)
    assert code in (0, 2), (code, err)
    if code == 2:
        lines = [line for line in err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, err
        assert err.rstrip("\n").endswith(lines[0]), err
        assert len(lines[0]) > len("error: x"), err
        assert not out, out
    elif "--json" in arguments:
        json.loads(out)
    assert "Traceback" not in err, err
    return code == 0
