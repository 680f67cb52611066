"""What is refused as damaged says how to build it again: that command is run, and mends it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.tensorrt.engine_folder import find_engine
from dllm_edge.runtime.engines.tensorrt.library import Library
from dllm_edge.scripts.cli.main import main

SIZES = ["--systems", "vanilla", "--context", "48", "--gen-length", "32"]


def remove_fingerprint(engine: Path) -> None:
    (engine / "fingerprint.json").unlink()


def remove_all_but_timings(engine: Path) -> None:
    for file in engine.iterdir():
        file.unlink()
    (engine / "timing.cache").write_bytes(b"timings")


def cut_fingerprint(engine: Path) -> None:
    file = engine / "fingerprint.json"
    file.write_bytes(file.read_bytes()[:100])


def fingerprint_of_another_version(engine: Path) -> None:
    file = engine / "fingerprint.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema_version": 99}))


def remove_engine_file(engine: Path) -> None:
    (engine / "step.plan").unlink()


def cut_engine_file(engine: Path) -> None:
    (engine / "step.plan").write_bytes(b"")


def change_engine_file(engine: Path) -> None:
    content = bytearray((engine / "step.plan").read_bytes())
    content[len(content) // 2] ^= 1
    (engine / "step.plan").write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        remove_fingerprint,
        remove_all_but_timings,
        cut_fingerprint,
        fingerprint_of_another_version,
        remove_engine_file,
        cut_engine_file,
        change_engine_file,
    ],
)
def test_the_remedy_mends_it(damage: Callable[[Path], None], bundle: Bundle, rtx: Library) -> None:
    engine = built(bundle, "sm86", rtx)
    damage(engine)
    with pytest.raises(DllmEdgeError) as refused:
        find_engine(bundle, rtx.name, rtx.version, "sm86")
    _, command, *arguments = shlex.split(re.findall("run '(.*)'", str(refused.value))[0])
    # A remedy for what left no sizes to read names none.
    run(command, *arguments, *SIZES)
    found = find_engine(bundle, rtx.name, rtx.version, "sm86")
    assert found.path == engine
    assert found.fingerprint.plans.keys() == {"step.plan"}


def test_a_folder_with_something_else_in_it_is_left_alone(bundle: Bundle, rtx: Library) -> None:
    engine = built(bundle, "sm86", rtx)
    remove_fingerprint(engine)
    (engine / "notes.txt").write_text("mine")
    with pytest.raises(SystemExit, match="2"):
        run("build", str(bundle.path), "--runtime", rtx.name, "--target", "sm86", *SIZES)
    assert (engine / "notes.txt").read_text() == "mine"


def built(bundle: Bundle, target: str, rtx: Library) -> Path:
    run("build", str(bundle.path), "--runtime", rtx.name, "--target", target, *SIZES)
    return find_engine(bundle, rtx.name, rtx.version, target).path


def run(*arguments: str) -> None:
    try:
        main(list(arguments))
    except SystemExit as left:
        if left.code:
            raise
