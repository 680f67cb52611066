from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ..conftest import Command, parsed
from .decodes import BLOCKS, SHORT


def test_what_a_decode_computes_in(command: Command, tiny_bundle: Callable[..., Path]) -> None:
    bundle = tiny_bundle("llada", "float16")
    assert command("run", bundle, "--prompt", "hi", *SHORT, *BLOCKS, "--compute", "float16", "--json")[0] == 0
    code, _, err = command("run", bundle, "--prompt", "hi", *SHORT, *BLOCKS, "--compute", "bfloat16")
    assert code == 2
    assert "cannot compute in bfloat16: use float32 or float16" in err


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


def test_a_prompt_from_a_file_and_from_standard_input(
    command: Command, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"How many apples?\n"
    (tmp_path / "prompt.txt").write_bytes(content)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    prompts = ("How many apples?", f"@{tmp_path}/prompt.txt", "-")
    found = [parsed(command("run", bundle, "--prompt", prompt, *SHORT, *BLOCKS, "--json")[1]) for prompt in prompts]
    assert {data["prompt"] for data in found} == {"How many apples?"}
    assert len({data["text"] for data in found}) == 1


def test_more_threads_than_cores_are_warned_of(command: Command, bundle: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    code, _, err = command("run", bundle, "--prompt", "Hi", *SHORT, *BLOCKS, "--threads", str(cores + 1))
    assert code == 0
    assert f"warning: {cores + 1} threads are more than this process has cores ({cores})" in err
    assert "warning" not in command("run", bundle, "--prompt", "Hi", *SHORT, *BLOCKS, "--threads", str(cores))[2]


def test_one_is_no_plural(command: Command, bundle: Path) -> None:
    settings = ("--gen-length", "1", "--set", "early_stop=false", "--system", "fast-dllm-dual")
    err = command("run", bundle, "--prompt", "Hi", *settings)[2]
    assert "fast-dllm-dual: 1 token in 1 forward (1 refresh), " in err


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


def test_run_takes_a_prompt_that_is_rendered_already(command: Command, bundle: Path) -> None:
    prompt = "user\n\nHi<|eot_id|>"
    arguments = ("run", bundle, "--prompt", prompt, *SHORT, *BLOCKS, "--json", "--no-chat")
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: the prompt contains the special token '<|eot_id|>', which only the chat template writes: ")
    code, out, _ = command(*arguments, "--special-tokens")
    assert (code, parsed(out)["prompt"]) == (0, prompt)


BAD_INPUT = {
    "unknown system": (("--system", "magic"), "unknown system 'magic': choose one of vanilla, "),
    "misspelt system": (("--system", "fast-dlm-dual"), "unknown system 'fast-dlm-dual': did you mean 'fast-dllm-dual'? choose"),
    "misspelt setting": (("--set", "treshold=0.9"), "vanilla has no setting 'treshold'; did you mean 'threshold'? it has"),
    "misspelt choice": (
        ("--set", "unmask=treshold"),
        "unmask=treshold: did you mean 'threshold'? must be one of ",
    ),
    "unknown setting": (("--set", "speed=9"), "vanilla has no setting 'speed'; it has gen_length, "),
    "setting of another system": (("--set", "retention=0.5"), "vanilla has no setting 'retention'"),
    "value out of range": (("--set", "threshold=7"), "threshold=7.0: must be between 0 and 1.01"),
    "value that is no number": (("--set", "threshold=nan"), "threshold=nan: must be between"),
    "wrong type": (("--set", "steps=many"), "steps=many: must be a whole number"),
    "wrong choice": (("--set", "unmask=all"), "unmask=all: must be one of "),
    "no assignment": (("--set", "threshold"), "--set threshold: must be key=value"),
    "steps that do not fit": (("--gen-length", "33", "--set", "steps=7"), "steps=7 do not spread evenly over 2 blocks"),
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
