from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from ...conftest import Command

MISUSE = {
    "no bundle": (("run",), "Missing argument 'BUNDLE'"),
    "no prompt": (("run", "x"), "Missing option '--prompt'"),
    "seed below 0": (("run", "x", "--prompt", "y", "--seed", "-1"), "'--seed'"),
    "seed that is no number": (("run", "x", "--prompt", "y", "--seed", "one"), "'--seed'"),
    "no such command": (("fly",), "No such command 'fly'"),
    "no such option": (("info", "x", "--no"), "--no"),
    "too few problems": (("eval", "x", "--limit", "0"), "'--limit'"),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse_of_the_command_line_gets_one_line(name: str, command: Command) -> None:
    arguments, message = MISUSE[name]
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


def test_a_reader_that_goes_away_is_no_failure_to_explain() -> None:
    script = f"{sys.executable} -m dllm_edge.scripts.cli.main systems --json | true"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_standard_output_is_named() -> None:
    script = f"{sys.executable} -m dllm_edge.scripts.cli.main systems --json > /dev/full"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (
        2,
        "error: standard output: No space left on device: make room and run it again\n",
    )


def test_an_interrupt_leaves_no_traceback(command: Command, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dllm_edge.scripts.cli.terminal.evaluations.evaluate_together", interrupted)
    code, out, err = command("eval", bundle, "--task", "arithmetic")
    assert (code, out, err) == (130, "", "interrupted\n")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "out.json"),
            "out.json: No space left on device: make room",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "out.json"), "out.json: Permission denied"),
    ],
)
def test_a_failed_write_gets_one_line(
    command: Command, bundle: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, message: str
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("dllm_edge.scripts.cli.terminal.evaluations.evaluate_together", failing)
    code, out, err = command("eval", bundle, "--task", "arithmetic")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
