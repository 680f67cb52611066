from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.systems import SYSTEMS
from dllm_edge.scripts.cli.main import app
from dllm_edge.scripts.cli.terminal import bundles

from ...tiny import write_tiny
from ..conftest import Command, parsed

COMMANDS = ("demo", "export", "validate", "run", "eval", "bench", "info", "systems", "plan", "doctor")
SHORT = ("--gen-length", "16")
BLOCKS = ("--set", "block_length=8")
FIELDS = {
    *("system", "settings", "task", "samples", "accuracy", "generated_tokens", "forwards", "refresh_forwards"),
    *("tokens_per_forward", "seconds", "tokens_per_second", "engine_seconds", "host_seconds"),
    *("peak_cache_bytes", "steady_cache_bytes"),
}


def dllm_edge(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A process of its own, as users start it."""
    command = [sys.executable, "-m", "dllm_edge.scripts.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    done = CliRunner().invoke(app, [name, "--help"])
    assert done.exit_code == 0
    assert name in CliRunner().invoke(app, ["--help"]).output


def test_export_then_info(command: Command, tmp_path: Path) -> None:
    checkpoint, path = write_tiny(tmp_path / "checkpoint", "dream"), tmp_path / "bundle"
    code, out, err = command("export", checkpoint, path, "--flavour", "portable", "--dtype", "float16", "--json")
    exported = parsed(out)
    assert code == 0
    assert (exported["family"], exported["stored"]) == ("dream", "float16")
    assert {graph["flavour"] for graph in exported["graphs"]} == {"portable"}
    assert "export" in err or "graphs" in err
    code, out, _ = command("info", path, "--verify", "--json")
    described = parsed(out)
    assert code == 0
    assert described["verified"] is True
    assert described["bytes"] == exported["bytes"] == sum(file["size"] for file in described["files"].values())
    code, out, _ = command("info", path)
    assert code == 0
    assert "dream" in out
    assert "step.portable.onnx" in out


def test_export_needs_overwrite(command: Command, tmp_path: Path) -> None:
    checkpoint, path = write_tiny(tmp_path / "checkpoint", "llada"), tmp_path / "bundle"
    assert command("export", checkpoint, path, "--flavour", "fused")[0] == 0
    code, out, err = command("export", checkpoint, path, "--flavour", "fused")
    assert (code, out) == (2, "")
    assert "already holds a bundle" in err
    assert command("export", checkpoint, path, "--flavour", "fused", "--overwrite")[0] == 0


def test_validate_reports_its_levels(command: Command, bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    code, out, _ = command("validate", copy, "--level", "layers", "--json")
    report = parsed(out)
    assert code == 0
    assert report["passed"] is True
    assert [level["name"] for level in report["levels"]] == ["structure", "layers"]
    assert json.loads((copy / "reports" / "validate.json").read_text())["passed"] is True


def test_validate_holds_an_engine_against_the_cpu(command: Command, tiny_bundle: Callable[..., Path], tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_bundle("llada", "float16"), tmp_path / "copy")
    options = ("--engine", "onnxruntime", "--device", "cpu", "--compute", "float16", "--level", "layers")
    code, out, _ = command("validate", copy, *options, "--json")
    report = parsed(out)
    assert code == 0
    assert [level["name"] for level in report["levels"]] == ["structure", "layers"]
    assert report["reference"] == "ONNX Runtime on a CPU in float32"
    code, out, _ = command("validate", copy, *options)
    assert code == 0
    assert "onnxruntime in float16 against ONNX Runtime on a CPU in float32" in out
    code, _, err = command("validate", copy, *options, "--checkpoint", tmp_path)
    assert code == 2
    assert "--checkpoint is for the validation against torch" in err


def test_what_a_decode_computes_in(command: Command, tiny_bundle: Callable[..., Path]) -> None:
    bundle = tiny_bundle("llada", "float16")
    assert command("run", bundle, "--prompt", "hi", *SHORT, *BLOCKS, "--compute", "float16", "--json")[0] == 0
    code, _, err = command("run", bundle, "--prompt", "hi", *SHORT, *BLOCKS, "--compute", "bfloat16")
    assert code == 2
    assert "cannot compute in bfloat16: use float32 or float16" in err


def test_validate_fails_against_other_weights(command: Command, bundle: Path, tmp_path: Path) -> None:
    copy, other = shutil.copytree(bundle, tmp_path / "copy"), write_tiny(tmp_path / "other", "llada", seed=1)
    code, out, _ = command("validate", copy, "--level", "layers", "--checkpoint", other)
    assert code == 1
    assert "layers FAILS" in out


def test_run_prints_the_text_alone_where_stdout_is_no_terminal(command: Command, bundle: Path) -> None:
    arguments = ("run", bundle, "--prompt", "How many?", *SHORT, *BLOCKS, "--system", "fast-dllm-dual")
    code, out, err = command(*arguments)
    data = parsed(command(*arguments, "--json")[1])
    assert code == 0
    assert out == data["text"] + "\n"
    assert f"{data['forwards']} forwards" in err
    assert data["system"] == "fast-dllm-dual"
    assert data["settings"]["gen_length"] == 16
    assert data["trace"] == []


def test_run_keeps_a_trace_where_asked(command: Command, bundle: Path) -> None:
    data = parsed(command("run", bundle, "--prompt", "Hi", *SHORT, *BLOCKS, "--trace", "--json")[1])
    assert len(data["trace"]) == data["forwards"]
    committed = [position for step in data["trace"] for commit in step["committed"] for position in commit["positions"]]
    assert len(committed) == len(set(committed)) == 16


def test_run_repeats_itself_by_its_seed(command: Command, bundle: Path) -> None:
    arguments = ("run", bundle, "--prompt", "Hi", *SHORT, *BLOCKS, "--set", "temperature=2", "--json")
    first, again, other = (parsed(command(*arguments, "--seed", seed)[1])["token_ids"] for seed in ("1", "1", "2"))
    assert first == again
    assert first != other


def test_eval_has_the_fields_of_the_design(command: Command, bundle: Path) -> None:
    arguments = ("eval", bundle, "--task", "arithmetic", "--limit", "2", *SHORT, *BLOCKS, "--system", "sparse-dllm")
    code, out, err = command(*arguments, "--json")
    data = parsed(out)
    assert code == 0
    assert set(data) >= FIELDS
    assert data["samples"] == 2
    assert data["tokens_per_forward"] == pytest.approx(data["generated_tokens"] / data["forwards"])
    assert "arithmetic" in err
    code, out, _ = command(*arguments)
    assert code == 0
    assert "sparse-dllm" in out


def test_bench_compares_systems(command: Command, bundle: Path) -> None:
    names = ["vanilla", "fast-dllm-dual"]
    arguments = ("bench", bundle, "--task", "arithmetic", "--limit", "1", "--gen-length", "32", "--systems", ",".join(names))
    data = parsed(command(*arguments, "--json")[1])
    assert [system["system"] for system in data["systems"]] == names
    assert all(set(system) >= FIELDS for system in data["systems"])
    code, out, _ = command(*arguments)
    assert code == 0
    assert "1.00x" in out


def test_systems_lists_every_setting(command: Command) -> None:
    found = {system["name"]: system for system in parsed(command("systems", "--json")[1])["systems"]}
    assert set(found) == set(SYSTEMS)
    assert set(found["vanilla"]["settings"]) == set(SYSTEMS["vanilla"].settings)
    threshold = found["fast-dllm-dual"]["settings"]["unmask"]
    assert threshold["default"] == "threshold"
    assert "quota" in threshold["choices"]
    assert all(setting["meaning"] for system in found.values() for setting in system["settings"].values())
    out = command("systems")[1]
    assert all(name in out for name in (*SYSTEMS, *vars(Settings())))


def test_doctor_finds_what_this_machine_has(command: Command) -> None:
    code, out, _ = command("doctor", "--json")
    data = parsed(out)
    assert code == 0
    assert data["ok"] is True
    assert {check["name"] for check in data["checks"] if check["required"]} >= {"Python", "numpy", "engine onnxruntime"}
    assert command("doctor")[0] == 0


BAD_INPUT = {
    "unknown system": (("--system", "magic"), "unknown system 'magic': choose one of vanilla, "),
    "unknown setting": (("--set", "speed=9"), "vanilla has no setting 'speed'; it has gen_length, "),
    "setting of another system": (("--set", "retention=0.5"), "vanilla has no setting 'retention'"),
    "value out of range": (("--set", "threshold=7"), "threshold=7.0: must be between 0 and 1.01"),
    "value that is no number": (("--set", "threshold=nan"), "threshold=nan: must be between"),
    "wrong type": (("--set", "steps=many"), "steps=many: must be a whole number"),
    "wrong choice": (("--set", "unmask=all"), "unmask=all: must be one of quota, "),
    "no assignment": (("--set", "threshold"), "--set threshold: must be key=value"),
    "length that does not fit the blocks": (("--gen-length", "33"), "gen_length=33 does not fit block_length=32"),
    "prompt too long": (("--prompt", "x " * 600), "this model has 512"),
    "generation too long": (("--gen-length", "3200000000"), "this model has 512"),
    "empty prompt": (("--prompt", " "), "the prompt is empty"),
    "unknown engine": (("--engine", "abacus"), "unknown engine 'abacus'"),
    "unknown device": (("--device", "moon"), "onnxruntime does not run on device 'moon': use cpu or cuda"),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_gets_one_line(name: str, command: Command, bundle: Path) -> None:
    arguments, message = BAD_INPUT[name]
    prompt = () if "--prompt" in arguments else ("--prompt", "Hi")
    code, out, err = command("run", bundle, *prompt, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


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
    places = {"bundle": str(bundle), "checkpoint": str(bundle.with_name("checkpoint")), "other": str(bundles.CHECKPOINT)}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        code, out, err = command(*(argument.format(**places) for argument in arguments))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("*bundle*"))


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


WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from dllm_edge.scripts.cli.main import main; main(sys.argv[1:])"


@pytest.mark.parametrize("name", ["export", "validate"])
def test_without_the_export_extra(name: str, bundle: Path, tmp_path: Path) -> None:
    places = (bundle.with_name("checkpoint"), tmp_path / "new") if name == "export" else (bundle,)
    command = [sys.executable, "-c", WITHOUT_TORCH, name, *map(str, places)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert done.stderr == "error: this needs torch: install with pip install 'dllm-edge[export]'\n"


def test_a_reader_that_goes_away_is_no_failure_to_explain() -> None:
    script = f"{sys.executable} -m dllm_edge.scripts.cli.main systems --json | true"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.stderr == ""


def test_an_interrupt_leaves_no_traceback(command: Command, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dllm_edge.scripts.cli.eval.evaluate_together", interrupted)
    code, out, err = command("eval", bundle, "--task", "arithmetic")
    assert (code, out, err) == (130, "", "")
