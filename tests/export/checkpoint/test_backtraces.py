from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dllm_edge.export.checkpoint.backtraces import without_backtraces

CLOSED = """
import os
from dllm_edge.export.checkpoint.backtraces import without_backtraces
with without_backtraces(): print("done")
"""


def fail_loudly() -> None:
    with without_backtraces():
        os.write(2, b"within ")
        raise ValueError("wrong")


def test_only_what_is_written_within_is_lost(capfd: pytest.CaptureFixture[str]) -> None:
    os.write(2, b"before ")
    with pytest.raises(ValueError, match="wrong"):
        fail_loudly()
    os.write(2, b"after")
    assert capfd.readouterr().err == "before after"


def test_standard_error_may_be_closed() -> None:
    command = ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", CLOSED]
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout == b"done\n"


def test_no_file_stays_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with without_backtraces():
        pass
    assert len(os.listdir("/proc/self/fd")) == before
