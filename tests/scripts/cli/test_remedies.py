"""What an error says to do works: it is read from the printed line and done, or at least what it names is there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dllm_edge.scripts.checkpoints.random_llada import SCALES, llada_config
from dllm_edge.scripts.cli.main import COMMANDS, load_command

from ...literals import ROOT, shown
from ...tiny import write_tiny
from ..conftest import Command

REMEDY = re.compile(r"dllm-edge [a-z]|(?<![\w-])--[a-z]|pip install|hf download")


@dataclass(frozen=True)
class Case:
    """`fails` is a command line that prints a line which `remedy` matches; its groups are options to give instead.

    `says` is a part of the string in the source. With `drop` the options are left out, with `whole` they are a command.
    `then` is the value that the user chooses.
    """

    says: str
    fails: str
    remedy: str
    drop: bool = False
    whole: bool = False
    then: str = ""


ORIN = "plan {llada} --device agx-orin-32gb --systems fast-dllm-dual"
L4, H100 = (f"plan {{llada}} --device {device} --systems fast-dllm-dual" for device in ("l4", "h100"))
BATCH = f"{H100} --batch 64"
CASES = (
    Case("use --context {}{}", "plan demo --device l4 --context 8192", r"use (--context \d+)"),
    Case(" --gen-length {}", "plan demo --device l4 --context 2000 --gen-length 1500", r"use (--context \d+ --gen-length \d+)"),
    Case("--context {} or more", "plan demo --device l4 --context 64 --gen-length 64", r"use (--context \d+) or more"),
    Case("--context {} or more", "plan demo --device l4 --context 64 --gen-length 64", r"or (--gen-length \d+) or less"),
    Case("--context {} or more", "plan demo --device l4 --gen-length 2000", r"use (--gen-length \d+) or less"),
    Case("--weights {} --group {}", ORIN, r"would fit: (--weights [^:]*):"),
    Case("--swap", ORIN, r"would fit: (--swap \d+):"),
    Case("--head-weights", f"{L4} --memory 7 --context 512", r"would fit: (--weights .*--head-weights [^:]*):"),
    Case(
        "--systems {} --retention {}",
        BATCH,
        r"would fit: (--systems sparse[^:]*):",
    ),
    Case("--batch {}", BATCH, r"would fit: (--batch \d+):"),
    Case("--dtype bfloat16", f"{L4} --dtype float32 --context 512", r"would fit: (--dtype \S+):"),
    Case("--weights int4, or JetPack 7.2", f"{ORIN} --weights int8 --memory 64", r"use (--weights int4), or"),
    Case("--weights int4, or JetPack 7.2", f"{ORIN} --weights int8 --memory 64", r"and (--flavour fused)"),
    Case("--group 64", "plan demo --device l4 --weights int4", r"use (--group 64)"),
    Case("--dtype float16, or float32", "plan demo --device t4 --dtype bfloat16", r"use (--dtype float16), or"),
    Case("use --group {}", "plan {bundle} --device l4 --weights int4 --group 128", r"use (--group \d+)"),
    Case("use --embedding-weights", "plan demo --device l4 --embedding-weights int4", r"use (--embedding-weights int8) or"),
    Case("use --engine onnxruntime", "plan demo --device cpu --engine tensorrt", r"use (--engine onnxruntime)"),
    Case("use --systems vanilla", "plan {sdar} --device l4 --systems fast-dllm-dual", r"use (--systems vanilla)"),
    Case("--list-devices' shows them", "plan demo", r"'dllm-edge (plan --list-devices)'", whole=True),
    Case("as in 'dllm-edge plan MODEL", "plan --device l4", r"'dllm-edge (plan MODEL --device l4)'", whole=True),
    Case("make one with 'dllm-edge export CHECKPOINT {}'", "info {new}", r"'dllm-edge (export CHECKPOINT .*)'", whole=True),
    Case("give --overwrite to replace it", "export {checkpoint} {bundle} --flavour portable", r"give (--overwrite) to"),
    Case("none, leave out --link", "export {checkpoint} {new} --link --weights int4", r"leave out (--link)", drop=True),
    Case(
        "as in --set threshold=0.9",
        "run {bundle} --prompt hi --system fast-dllm-dual --set threshold",
        r"as in (--set \S+=\S+)",
    ),
    Case("choose one with --task", "eval {bundle} --limit 1 --gen-length 8", r"choose one with (--task)", then="arithmetic"),
    Case(
        "as in --systems {}",
        "bench {bundle} --task arithmetic --limit 1 --gen-length 8 --no-sweep --systems vanilla:threshold",
        r"as in (--systems \S+)",
    ),
    Case("give --prompt some text", "run {bundle} --prompt ' ' --gen-length 8", r"give (--prompt some) text"),
    Case("next: {}", "export {checkpoint} {new} --flavour portable", r"next: dllm-edge (.*)", whole=True),
)

# What no test here can do: why, and part of the string. Their options and packages are looked up below.
NAMED_ONLY = {
    "needs TensorRT, and mostly a GPU": (
        "could not build it",
        "build the portable flavour",
        "than TensorRT takes in one tensor",
        "name one with --target",
        "builds for a GPU, and this machine shows none",
        "builds for the GPU that is present",
        "--runtime tensorrt, or --engine onnxruntime --device cuda",
        "--engine onnxruntime --device cuda",
        "--flavour portable",
        "gives no finite numbers",
        "run 'dllm-edge build",
        "build again with 'dllm-edge build'",
        " --compute {}",
        " --target {}",
        "decode fewer at once",
        "has no memory left",
        "CUDA kernel for",
        "CUDA provider did not load",
        "run 'dllm-edge doctor'",
        "is not made for it",
        "use --compute float32, which every bundle has",
        "failed running {}",
    ),
    "tested where it is raised": (
        "a build takes about",
        "export with --weights int4, ",
        "--link and --lora do not go together",
        "which --link cannot turn",
        "cannot be hard-linked",
        "outside the range of",
        "does not say how much memory",
        "or use --link",
        "is for the validation against torch",
        "--prompt @{}: cannot be read",
        "run 'dllm-edge info {} --verify'",
        "'dllm-edge systems' lists them",
        "has no room for a prompt beside",
        "the bundle is damaged",
        "is damaged or of another version",
        "this dllm-edge needs",
        "--flavour both and --overwrite",
        "no bundle, it has no",
        "hf download",
        "allow special tokens in prompts",
        "export it as it is with --allow-nonfinite",
        "chat=False, --no-chat",
        "give one with --guide BUNDLE",
        "make it with 'dllm-edge info demo'",
        "--plot {}: the picture is a PNG",
        "--plot {}: is a folder",
        "--plot {}: cannot be written",
    ),
    "installs something": ("pip install", "pip uninstall"),
    "a device's own figures": ("--memory and --bandwidth", "--bandwidth 51", "--bandwidth 102", "--tflops 19.2"),
    "an option's name, or no remedy": (
        "--memory",
        "--bandwidth",
        "--tflops",
        "--embedding-weights",
        "--context",
        "--gen-length",
        "--systems '{}' names no system",
        "--set",
        "--help",
        "(see --help)",
        "--flavour fused",
        "--block-length {}",
        "--verify reads the weights again",
        "Check a bundle against torch",
        "this dllm-edge reads",
        "--checkpoint",
        "--query-gpu",
        "--format=csv",
        "it lies in {}",
        "install dllm-edge again",
        "checkpoint is missing",
    ),
}
SHOWN = list(shown("graphs", "runtime", "export", "scripts/cli"))
STRINGS = [(file, text) for file, text in SHOWN if REMEDY.search(text)]


@pytest.mark.parametrize(("file", "text"), STRINGS, ids=lambda part: part[:60])
def test_every_remedy_is_run_here_or_named(file: str, text: str) -> None:
    run = [case.says for case in CASES if case.says in text]
    named = [part for parts in NAMED_ONLY.values() for part in parts if part in text]
    assert run or named, f"{file}: a remedy that no case runs"


def test_no_case_is_of_another_time() -> None:
    texts = [text for _, text in SHOWN]
    assert [case.says for case in CASES if not any(case.says in text for text in texts)] == []


FOREIGN = {"force-reinstall", "no-deps", "upgrade", "system-site-packages", "local-dir", "query-gpu", "format", "help"}


@pytest.fixture(scope="module")
def options() -> set[str]:
    """The names of all options of all commands."""
    loaded = [load_command(name) for name in COMMANDS]
    return {
        option for command in loaded for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }


@pytest.mark.parametrize(("file", "text"), STRINGS, ids=lambda part: part[:60])
def test_commands_and_options_that_are_named_are_there(file: str, text: str, options: set[str]) -> None:
    named = set(re.findall(r"(?<![\w-])--([a-z][a-z-]*)", text)) - FOREIGN
    assert {f"--{name}" for name in named} <= options, file
    assert set(re.findall(r"'dllm-edge ([a-z]+)", text)) <= set(COMMANDS), file


# Those that are neither ours nor among the extras of `pyproject.toml`.
PACKAGES = {"dllm-edge", "tensorrt", "tensorrt-rtx", "cuda-python", "onnxruntime-gpu", "nvidia-cuda-runtime-cu12"}
PACKAGES |= {"huggingface_hub", "polygraphy", "onnxruntime", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13"}


@pytest.mark.parametrize(("file", "text"), [row for row in STRINGS if "pip install" in row[1]], ids=lambda part: part[:60])
def test_packages_and_extras_that_are_named_are_there(file: str, text: str) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for package, extra in re.findall(r"pip install (?:--\S+ )*'?([\w-]+)(?:\[(\w+)\])?", text):
        assert package in PACKAGES, file
        assert not extra or re.search(rf"^{extra} = \[", project, re.MULTILINE), file


@pytest.fixture
def llada(tmp_path: Path) -> Path:
    """A folder with LLaDA 8B's `config.json` and nothing else."""
    folder = tmp_path / "8b"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(llada_config(SCALES["8b"])))
    return folder


@pytest.fixture
def places(tiny_bundle: Callable[..., Path], llada: Path, tmp_path: Path) -> dict[str, Path]:
    """Where the words of the cases are: what they may write to are copies."""
    bundle = tiny_bundle("llada")
    checkpoint = shutil.copytree(bundle.with_name("checkpoint"), tmp_path / "checkpoint")
    copied = shutil.copytree(bundle, tmp_path / "bundle")
    sdar = write_tiny(tmp_path / "sdar", "sdar")
    return {"llada": llada, "checkpoint": checkpoint, "bundle": copied, "sdar": sdar, "new": tmp_path / "new"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.says} {case.remedy}")
def test_doing_what_is_printed_works(case: Case, command: Command, places: dict[str, Path]) -> None:
    words = [word.format(**places) for word in shlex.split(case.fails)]
    _, out, err = command(*words)
    printed = out + err
    found = re.search(case.remedy, printed)
    assert found, printed
    remedy = shlex.split(found[1]) + ([case.then] if case.then else [])
    stand_ins = {"CHECKPOINT": str(places["checkpoint"]), "MODEL": str(places["llada"])}
    if case.whole:
        done = [stand_ins.get(word, word) for word in remedy]
    elif case.drop:
        done = [word for word in words if word not in remedy]
    else:
        done = with_options(words, remedy)
    code, out, err = command(*done)
    assert code == 0, f"{shlex.join(done)}: {out}{err}"


def with_options(words: list[str], options: list[str]) -> list[str]:
    """The command line with `options` in the place of those of the same names."""
    words = list(words)
    for index, option in enumerate(options):
        if option.startswith("--") and option in words:
            at = words.index(option)
            del words[at : at + 2]
        assert index or option.startswith("--")
    return words + options


def test_how_to_download_a_model(
    command: Command, places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (("plan", "OWNER/Tiny-Model", "--device", "l4"), ("export", "OWNER/Tiny-Model", "new")):
        code, _, err = command(*words)
        found = re.search(r"'hf download (\S+) --local-dir (\S+)'.* then give (\S+)$", err.strip())
        assert (code, found and found.groups()) == (2, ("OWNER/Tiny-Model", "Tiny-Model", "Tiny-Model"))
    places["checkpoint"].rename(tmp_path / "Tiny-Model")
    assert command("plan", "Tiny-Model", "--device", "l4", "--context", "256")[0] == 0
