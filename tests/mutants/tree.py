"""A copy of the package for one worker, in which one mutant at a time is put and tested."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .mutant import Mutant

MEMORY = 10 * 2**30  # bytes: a defect that fills the memory must not take the machine with it
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?(?:\[.*?\])?)(?: - .*)?$", re.MULTILINE)
TIMED_OUT = "the time limit"
TEST_LIMIT = 120  # seconds of one test, several times the longest: a decode that never ends is noticed by then


@dataclass(frozen=True)
class Tree:
    """The copy at `folder/dllm_edge`, which tests import in place of the original."""

    folder: Path
    test_limit: int = TEST_LIMIT

    @property
    def package(self) -> Path:
        return self.folder / "dllm_edge"

    def fill(self, root: Path) -> None:
        """Copy what git knows or would add of the working tree at `root`; its environment is linked."""
        shutil.rmtree(self.folder, ignore_errors=True)
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        done = subprocess.run(listed, cwd=root, capture_output=True, check=True, text=True)
        for name in filter(None, done.stdout.split("\0")):
            if (root / name).is_file():
                (self.package / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, self.package / name)
        (self.package / ".venv").symlink_to(root / ".venv")

    def failure(self, mutant: Mutant, paths: list[str], limit: float) -> str | None:
        """Return which test of `paths` fails with the mutant in place: `TIMED_OUT` after `limit` seconds, None if none does.

        A test fails that takes more than the tree's `test_limit`.
        """
        path = self.package / mutant.file
        source = path.read_bytes()
        try:
            path.write_bytes(mutant.applied(source))
            return self.first_failure(paths, limit)
        finally:
            path.write_bytes(source)

    def first_failure(self, paths: list[str], limit: float) -> str | None:
        """Return the first test that fails in the tree as it is, as `failure` does."""
        temporary = self.folder / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        # Bytecode is compared by seconds and size: of two mutants within a second, the first's would run for the second.
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(temporary)}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--timeout={self.test_limit}",
            f"--basetemp={temporary / 'pytest'}",
            *paths,
        ]
        with subprocess.Popen(
            command,
            cwd=self.package,
            env={**environment, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        ) as process:
            resource.prlimit(process.pid, resource.RLIMIT_DATA, (MEMORY, MEMORY))
            try:
                output = process.communicate(timeout=limit)[0]
            except subprocess.TimeoutExpired:
                return TIMED_OUT
            finally:
                end_group(process.pid)
        failed = FAILED.search(output)
        return None if process.returncode == 0 else failed[1] if failed else output.strip()[-200:] or "no output"


def end_group(group: int) -> None:
    """Kill whatever a run of tests left behind."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
