from __future__ import annotations

import ast
import json
import os
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.table import Table

import dllm_edge
from dllm_edge.runtime.bundle.manifest import MANIFEST, read_manifest
from dllm_edge.scripts.cli.doctor.checks import Check
from dllm_edge.scripts.cli.doctor.command import print_checks
from dllm_edge.scripts.cli.terminal.output import log, screen
from dllm_edge.scripts.cli.terminal.progress import phase_bars

from ...conftest import Command
from ..decodes import BLOCKS, SHORT

STRANGE = ("[/c]", "[red]", ":smile:", "\\[", "[link=x]")
NAME = "".join(STRANGE).replace("/", "") + "[b]x"


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "4000")


@pytest.fixture
def strange(tmp_path: Path, bundle: Path) -> Path:
    """A bundle in folders of which a path looks like markup, whose manifest has such texts, too."""
    path = tmp_path / "a[" / "c]" / NAME
    path.parent.mkdir(parents=True)
    shutil.copytree(bundle, path)
    manifest = replace(read_manifest(path), tools={text: text for text in STRANGE})
    (path / MANIFEST).write_text(json.dumps(manifest.to_json()))
    shutil.copytree(bundle.with_name("checkpoint"), path.with_name(f"checkpoint{NAME}"))
    return path


def checkpoint_of(strange: Path) -> Path:
    return next(path for path in strange.parent.iterdir() if path.name.startswith("checkpoint"))


def test_info_prints_paths_and_texts_as_they_are(command: Command, strange: Path) -> None:
    code, out, _ = command("info", strange)
    assert code == 0
    assert str(strange) in out
    assert all(f"{text} {text}" in out for text in STRANGE)


def test_export_and_plan_print_paths_as_they_are(command: Command, strange: Path) -> None:
    new = strange.with_name(f"new{NAME}")
    code, out, err = command("export", checkpoint_of(strange), new, "--flavour", "portable")
    assert (code, "Traceback" in err) == (0, False)
    assert f"dllm-edge validate {shlex.quote(str(new))} --checkpoint {shlex.quote(str(checkpoint_of(strange)))}" in out
    code, out, _ = command("plan", checkpoint_of(strange), "--device", "orin-nano-8gb")
    assert code in (0, 3)
    assert checkpoint_of(strange).name in out


def test_validate_and_decodes_print_paths_as_they_are(command: Command, strange: Path) -> None:
    code, out, _ = command("validate", strange, "--level", "structure")
    assert code == 0
    assert "structure holds (" in out
    code, _, _ = command("run", strange, "--prompt", "".join(STRANGE), *SHORT, *BLOCKS)
    assert code == 0
    for name, options in (("eval", (*SHORT, *BLOCKS)), ("bench", ("--systems", "vanilla", "--gen-length", "32"))):
        assert command(name, strange, "--task", "arithmetic", "--limit", "1", *options)[0] == 0


@pytest.mark.parametrize("name", ["info", "run", "eval", "bench", "validate", "build", "plan", "export"])
def test_a_strange_path_that_is_missing_gets_its_one_line(command: Command, name: str) -> None:
    more = {"run": ("--prompt", "x"), "build": ("--runtime", "tensorrt-rtx", "--target", "sm86"), "export": ("new",)}
    device = ("--device", "orin-nano-8gb") if name == "plan" else ()
    code, out, err = command(name, "a[/c]", *more.get(name, ()), *device)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1


def test_doctor_prints_what_it_found_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_checks(
        [Check(f"check {text}", False, required, text, f"get {text}") for text in STRANGE for required in (True, False)]
    )
    out = capsys.readouterr().out
    assert all(out.count(f"get {text}") == 2 and f"check {text}" in out for text in STRANGE)


def test_tables_and_their_titles_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    for console in (screen(), log()):
        for text in STRANGE:
            table = Table(text, title=text)
            table.add_row(text)
            console.print(table, text)
    captured = capsys.readouterr()
    for printed in captured:
        assert all(printed.count(text) == 4 for text in STRANGE)


def test_stages_and_phases_of_progress_are_no_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with phase_bars(width=10) as progress:
        for text in STRANGE:
            progress(text, f"phase {text}", 0.5)
    err = capsys.readouterr().err
    assert all(f"phase {text}" in err for text in STRANGE)


def test_a_name_that_is_no_text_ends_nothing(command: Command, bundle: Path, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    shutil.copytree(bundle, path)
    code, out, _ = command("info", path)
    assert code == 0
    assert "\\udcff" in out


def reads_markup(file: Path) -> bool:
    """Whether a module makes a console, or a text out of markup, by itself."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            names.add(getattr(node.func, "attr" if isinstance(node.func, ast.Attribute) else "id", ""))
        if isinstance(node, ast.ImportFrom):
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return bool(names & {"Console", "from_markup", "rich.markup", "rich.print"})


def test_nothing_else_makes_a_console_or_reads_markup() -> None:
    root = Path(dllm_edge.__file__).parent
    files = [file for folder in ("demo", "export", "graphs", "runtime", "scripts") for file in (root / folder).rglob("*.py")]
    found = {file.relative_to(root).as_posix() for file in files if reads_markup(file)}
    assert found == {"scripts/cli/terminal/output.py"}
