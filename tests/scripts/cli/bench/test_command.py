from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from dllm_edge.runtime.generate import Generation, Model
from dllm_edge.runtime.scheduler.request import Request
from dllm_edge.scripts.cli.bench import plot
from dllm_edge.scripts.cli.bench.command import JOURNAL

from ....permissions import permissions_hold
from ...conftest import Command, parsed
from ..decodes import FIELDS

COMMON = ("--task", "arithmetic", "--limit", "2", "--threads", "1")
SYSTEMS = ("--systems", "vanilla,fast-dllm-dual:unmask=factor")
SHORT = ("--gen-length", "16")


@pytest.fixture
def own(bundle: Path, tmp_path: Path) -> Path:
    """A bundle that may be written to."""
    return shutil.copytree(bundle, tmp_path / "own")


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The systems of all decodes, in their order."""
    found: list[str] = []
    decode = Model.decode

    def noted(self: Model, requests: Sequence[Request], max_batch: int = 8) -> list[Generation]:
        found.extend(request.system.name for request in requests)
        return decode(self, requests, max_batch)

    monkeypatch.setattr(Model, "decode", noted)
    return found


def test_bench_compares_systems_at_lengths(command: Command, own: Path, decodes: list[str]) -> None:
    arguments = ("bench", own, *COMMON, *SYSTEMS, "--gen-length", "16,32")
    data = parsed(command(*arguments, "--json")[1])["systems"]
    assert [(one["composition"], one["settings"]["gen_length"]) for one in data] == [
        (composition, length) for length in (16, 32) for composition in ("vanilla", "fast-dllm-dual:unmask=factor")
    ]
    assert all(set(one) >= FIELDS | {"rows_sent", "aup", "speed", "sweep", "claim"} for one in data)
    assert [one["speed"] for one in data if one["system"] == "vanilla"] == [1.0, 1.0]
    assert [[point["value"] for point in one["sweep"]["points"]] for one in data[:2]] == [[1, 2, 4, 8], [0.5, 1.0, 1.5, 2.0]]
    assert [one["sweep"]["setting"] for one in data[:2]] == ["steps", "factor"]
    assert data[0]["sweep"]["points"][1]["settings"]["steps"] == 8
    # A decode that two ask for, as a sweep's of the value that is the default, is made once.
    assert len(decodes) == 2 * 2 * (4 + 4)
    code, out, _ = command(*arguments)
    assert code == 0
    assert out.count("speed over vanilla") == 2
    assert len(decodes) == 2 * 2 * (4 + 4)
    code, out, _ = command(*arguments, "--markdown")
    assert out.count("| `fast-dllm-dual:unmask=factor` | factor |") == 2


def test_without_a_sweep(command: Command, own: Path, decodes: list[str]) -> None:
    data = parsed(command("bench", own, *COMMON, *SYSTEMS, *SHORT, "--no-sweep", "--json")[1])["systems"]
    assert [(one["aup"], one["sweep"]["points"]) for one in data] == [(None, [])] * 2
    assert len(decodes) == 4


def test_fresh_decodes_again(command: Command, own: Path, decodes: list[str]) -> None:
    arguments = ("bench", own, *COMMON, *SYSTEMS, *SHORT, "--no-sweep", "--json")
    first = command(*arguments)[1]
    assert command(*arguments)[1] == first
    assert len(decodes) == 4
    assert command(*arguments, "--fresh")[0] == 0
    assert len(decodes) == 8


def test_a_bundle_that_is_not_to_be_written_to(command: Command, own: Path) -> None:
    (own / "reports").chmod(0o555)
    with permissions_hold():
        code, out, err = command("bench", own, *COMMON, *SYSTEMS, *SHORT, "--no-sweep", "--json")
    assert code == 0
    assert len(parsed(out)["systems"]) == 2
    assert err.count("warning: ") == 1
    assert f"{own / JOURNAL}: cannot be written (Permission denied)" in err


def test_what_the_model_refuses_is_refused_first(command: Command, own: Path, decodes: list[str]) -> None:
    code, out, err = command("bench", own, *COMMON, *SYSTEMS, "--gen-length", "16,4096")
    assert (code, out, decodes) == (2, "", [])
    assert "this model has 512" in err


PICTURES = {
    "no PNG": ("out.jpg", "give a name that ends with .png"),
    "a folder that is not there": ("none/out.png", "cannot be written (No such file or directory): choose a folder"),
    "a folder": ("folder.png", "is a folder: give the name of a file in it"),
    "a folder that is not to be written to": ("closed/out.png", "cannot be written (Permission denied)"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_that_cannot_be_written_is_refused_first(
    name: str, command: Command, own: Path, tmp_path: Path, decodes: list[str]
) -> None:
    for folder in ("folder.png", "closed"):
        (tmp_path / folder).mkdir()
    (tmp_path / "closed").chmod(0o555)
    file, message = PICTURES[name]
    with permissions_hold():
        code, out, err = command("bench", own, *COMMON, *SHORT, "--plot", tmp_path / file)
    assert (code, out, decodes) == (2, "", [])
    assert err.startswith("error: --plot ")
    assert message in err


def test_a_picture_beside_the_json(command: Command, own: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.png"
    code, out, _ = command("bench", own, *COMMON, *SYSTEMS, *SHORT, "--no-sweep", "--json", "--plot", file)
    assert (code, len(parsed(out)["systems"])) == (0, 2)
    assert file.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.glob(".out.png*")) == []


def test_without_matplotlib(command: Command, own: Path, monkeypatch: pytest.MonkeyPatch, decodes: list[str]) -> None:
    monkeypatch.setattr(plot, "find_spec", lambda name: None)
    code, _, err = command("bench", own, *COMMON, *SHORT, "--plot", "out.png")
    assert (code, decodes) == (2, [])
    assert err == "error: --plot needs matplotlib: install with pip install 'dllm-edge[plot]'\n"


def test_a_killed_bench_goes_on(command: Command, own: Path, decodes: list[str]) -> None:
    """By SIGKILL, which nothing can catch; what it had decoded is not decoded again."""
    arguments = ("bench", str(own), *COMMON, *SYSTEMS, *SHORT, "--limit", "60", "--no-sweep", "--json")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    bench = subprocess.Popen(
        [sys.executable, "-m", "dllm_edge.scripts.cli.main", *arguments], env=environment, stdout=subprocess.DEVNULL
    )
    journal = own / JOURNAL
    until = time.monotonic() + 120
    while not journal.exists() or journal.read_bytes().count(b"\n") < 5:
        assert bench.poll() is None, "it ended before it was killed"
        assert time.monotonic() < until
        time.sleep(0.01)
    bench.send_signal(signal.SIGKILL)
    assert bench.wait() == -signal.SIGKILL
    kept = journal.read_bytes().splitlines()[:-1]
    resumed = command(*arguments)[1]
    assert len(decodes) <= 60 * 2 - len(kept)
    assert journal.read_bytes().splitlines()[: len(kept)] == kept
    seconds = [json.loads(line)["outcome"]["seconds"] for line in journal.read_bytes().splitlines()]
    assert sum(one["seconds"] for one in parsed(resumed)["systems"]) == pytest.approx(sum(seconds))
    assert command(*arguments)[1] == resumed
