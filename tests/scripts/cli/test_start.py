"""Signals at every stage of a real process: while it imports, while it works, while it cleans up."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ...tiny import write_tiny

# Sends itself a signal when Python imports a module, or opens a file whose path ends so.
SIGNALLED = """
import os, signal, sys
number, event_name, wanted = int(sys.argv[1]), sys.argv[2], sys.argv[3]
sent = []
def hook(event, arguments):
    path = arguments[0] if event == event_name else None
    if isinstance(path, (str, os.PathLike)) and wanted in os.fspath(path) and not sent:
        sent.append(True)
        os.kill(os.getpid(), number)
sys.addaudithook(hook)
sys.argv = ["dllm-edge", *sys.argv[4:]]
from dllm_edge.scripts.cli.start import main
main()
"""
MODULES = (
    "dllm_edge.scripts.cli.main",
    "typer",
    "rich.console",
    "dllm_edge.scripts.cli.terminal.launch",
    "numpy",
    "dllm_edge.runtime.bundle.bundle",
)


def signalled(number: signal.Signals, event: str, wanted: str, *arguments: str | Path) -> tuple[int, str, str]:
    command = [sys.executable, "-c", SIGNALLED, str(int(number)), event, wanted, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, preexec_fn=heed_signals)
    return done.returncode, done.stdout, done.stderr


def heed_signals() -> None:
    """What was started in the background, or by nohup, ignores them, and its children with it."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("module", MODULES)
def test_an_interrupt_while_modules_are_imported(module: str) -> None:
    assert signalled(signal.SIGINT, "import", module, "info", "nowhere") == (130, "", "interrupted\n")


@pytest.mark.parametrize("module", [MODULES[0], MODULES[-1]])
def test_an_end_while_modules_are_imported(module: str) -> None:
    assert signalled(signal.SIGTERM, "import", module, "info", "nowhere") == (143, "", "terminated\n")


@pytest.mark.parametrize(
    ("number", "file", "code", "word"),
    [
        (signal.SIGTERM, "model-00001-of-00001", 143, "terminated"),
        (signal.SIGHUP, ".manifest.json", 129, "terminated"),
        (signal.SIGINT, ".step.portable.onnx", 130, "interrupted"),
    ],
)
def test_an_export_that_is_told_to_end_leaves_nothing(
    tmp_path: Path, number: signal.Signals, file: str, code: int, word: str
) -> None:
    checkpoint = write_tiny(tmp_path / "checkpoint", "llada")
    ended = signalled(number, "open", file, "export", checkpoint, tmp_path / "bundle", "--flavour", "portable")
    assert (ended[0], ended[1]) == (code, "")
    assert ended[2].splitlines()[-1] == word
    assert "Traceback" not in ended[2]
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint"]


def test_a_signal_that_is_ignored_stays_so(tmp_path: Path) -> None:
    script = f"trap '' INT TERM; exec {sys.executable} -c \"$SIGNALLED\" {int(signal.SIGINT)} import typer info nowhere"
    done = subprocess.run(
        ["sh", "-c", script], env={"SIGNALLED": SIGNALLED}, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: nowhere")


LAZY = """
import sys
import dllm_edge
print(sorted(name for name in ("numpy", "onnxruntime", "tokenizers", "dllm_edge.runtime") if name in sys.modules))
from dllm_edge import DllmEdgeError
print("numpy" in sys.modules)
from dllm_edge import Event, Generation, Model, load
print(load.__module__, set(dllm_edge.__all__) <= set(dir(dllm_edge)))
try:
    dllm_edge.laod
except AttributeError as error:
    print(error)
"""


def test_the_package_imports_the_runtime_when_it_is_asked_for() -> None:
    done = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.splitlines() == [
        "[]",
        "False",
        "dllm_edge.runtime.generate True",
        "module 'dllm_edge' has no attribute 'laod'",
    ]
