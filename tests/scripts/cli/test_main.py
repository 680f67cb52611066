from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dllm_edge.scripts.cli.main import COMMANDS as DECLARED
from dllm_edge.scripts.cli.main import app
from dllm_edge.scripts.cli.terminal import bundles

from ..conftest import Command, parsed
from .decodes import BLOCKS, SHORT

COMMANDS = ("demo", "export", "build", "validate", "run", "eval", "bench", "info", "systems", "plan", "doctor")


def dllm_edge(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A process of its own, as users start it."""
    command = [sys.executable, "-m", "dllm_edge.scripts.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    done = CliRunner().invoke(app, [name, "--help"])
    assert done.exit_code == 0
    assert " ".join(DECLARED[name].help.split()[:4]) in done.output
    assert "--json" in done.output


def test_commands_are_listed_in_the_order_of_a_users_way() -> None:
    output = CliRunner().invoke(app, ["--help"]).output
    listed = re.findall(r"^\W*(\w+)  ", output, re.MULTILINE)
    assert tuple(name for name in listed if name in COMMANDS) == COMMANDS == tuple(DECLARED)


IMPORTED = """
import sys
from dllm_edge.scripts.cli.main import COMMANDS, main
try:
    main(sys.argv[1:])
finally:
    package = "dllm_edge.scripts.cli."
    print(*(name for name, command in COMMANDS.items() if package + command.module in sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(("name", "imported"), [("--help", ""), ("systems", "systems"), ("doctor", "doctor")])
def test_a_command_is_imported_when_it_is_called(name: str, imported: str) -> None:
    command = [sys.executable, "-c", IMPORTED, name]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stderr.splitlines()[-1] == imported


BAD_COMMANDS = {
    "missing bundle": (("info", "nowhere"), "nowhere: there is no such bundle"),
    "missing checkpoint": (("export", "nowhere", "bundle"), "nowhere"),
    "unknown task": (("eval", "{bundle}", "--task", "chess"), "unknown task 'chess': choose one of arithmetic"),
    "no task": (("eval", "{bundle}"), "names no task: choose one with --task"),
    "too many problems": (("eval", "{bundle}", "--task", "arithmetic", "--limit", "5001"), "has 5000 problems"),
    "no systems": (("bench", "{bundle}", "--task", "arithmetic", "--systems", ","), "names no system"),
    "unknown level": (("validate", "{bundle}", "--level", "deep"), "unknown level 'deep'"),
    "another model": (("validate", "{bundle}", "--checkpoint", "{other}"), "not the model in"),
    "unknown flavour": (("export", "{checkpoint}", "new", "--flavour", "mild"), "unknown flavour 'mild'"),
    "unknown dtype": (("export", "{checkpoint}", "new", "--dtype", "int3"), "unknown dtype 'int3'"),
}


@pytest.mark.parametrize("name", BAD_COMMANDS)
def test_bad_commands_get_one_line(name: str, command: Command, bundle: Path, tmp_path: Path) -> None:
    arguments, message = BAD_COMMANDS[name]
    paths = {"bundle": str(bundle), "checkpoint": str(bundle.with_name("checkpoint")), "other": str(bundles.CHECKPOINT)}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        code, out, err = command(*(argument.format(**paths) for argument in arguments))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("*bundle*"))


def test_no_command_says_what_there_is(command: Command) -> None:
    code, out, _ = command()
    assert code == 0
    assert all(name in out for name in COMMANDS)


def test_a_process_ends_as_documented(bundle: Path) -> None:
    right = dllm_edge("run", bundle, "--prompt", "Hi", *SHORT, *BLOCKS, "--json")
    assert right.returncode == 0
    assert parsed(right.stdout)["system"] == "vanilla"
    wrong = dllm_edge("run", bundle, "--prompt", "Hi", "--system", "magic")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("error: unknown system 'magic'")
    assert wrong.stderr.count("\n") == 1
    assert dllm_edge("run").returncode == 2


WATCHED = """
import sys
from dllm_edge.scripts.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(*(name for name in ("torch", "onnx", "onnxscript") if name in sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize("name", ["info", "run", "eval", "systems", "doctor"])
def test_only_exports_import_torch(name: str, bundle: Path) -> None:
    more = {
        "info": (bundle,),
        "run": (bundle, "--prompt", "Hi", *SHORT, *BLOCKS),
        "eval": (bundle, "--task", "arithmetic", "--limit", "1", *SHORT, *BLOCKS),
    }
    command = [sys.executable, "-c", WATCHED, name, *map(str, more.get(name, ())), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    parsed(done.stdout)
    assert done.stderr.splitlines()[-1] == ""
