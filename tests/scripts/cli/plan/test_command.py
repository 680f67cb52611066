from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dllm_edge.graphs.contract import cache_bytes
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.systems import SYSTEMS

from ...conftest import Command, parsed

LENGTHS = ("--gen-length", "16", "--block-length", "8")


def test_a_config_alone_is_planned_for(command: Command, llada: Path) -> None:
    code, out, err = command("plan", llada, "--device", "l4", "--context", "512, 2048", "--tokens-per-forward", "3", "--json")
    plan = parsed(out)
    assert (code, err) == (0, "")
    assert (plan["estimate"], plan["fits"]) == (True, True)
    assert len(plan["plans"]) == 2 * len(SYSTEMS)
    assert {row["context"] for row in plan["plans"]} == {512, 2048}
    for row in plan["plans"]:
        parts = ("weight_bytes", "peak_cache_bytes", "activation_bytes", "runtime_bytes")
        assert row["run_bytes"] == sum(row[part] for part in parts)
        assert row["tokens_per_second"] > 0
        assert row["full_step"]["bound"] == "compute"
    assert "estimate" in plan["assumptions"][0]


@pytest.mark.parametrize(
    ("options", "precision"),
    [
        (("--head-weights", "int8"), "bfloat16, head int8 in groups of 32"),
        (("--embedding-weights", "int8", "--group", "64"), "bfloat16, embedding int8 in groups of 64"),
        (("--weights", "plain", "--group", "128"), "bfloat16"),
    ],
)
def test_each_part_has_a_format_of_its_own(options: tuple[str, ...], precision: str, command: Command, llada: Path) -> None:
    code, out, _ = command("plan", llada, "--device", "h100", *options, "--json")
    assert code == 0
    assert parsed(out)["model"]["precision"] == precision


def test_a_bundle_is_planned_for(command: Command, bundle: Path) -> None:
    code, out, _ = command("plan", bundle, "--memory", "4", "--engine", "onnxruntime", "--context", "64", *LENGTHS, "--json")
    plan = parsed(out)
    assert code == 0
    config = Bundle.open(bundle).config
    cached = {row["system"]: row["peak_cache_bytes"] for row in plan["plans"]}
    assert cached["fast-dllm-dual"] == cache_bytes(config, "float32", 64)
    assert all("steps_per_second" not in row for row in plan["plans"])


def test_the_demo_is_planned_for(command: Command) -> None:
    code, out, _ = command("plan", "demo", "--device", "orin-nano-8gb")
    assert code == 0
    assert "102 GB/s in Super mode" in " ".join(out.split())


BAD = {
    "no model": (("--device", "l4"), "give a folder with a config.json or a bundle"),
    "no device": (("{model}",), "name a --device"),
    "unknown device": (("{model}", "--device", "moon"), "unknown device 'moon': choose one of orin-nano-4gb, "),
    "unknown system": (("{model}", "--device", "l4", "--systems", "magic"), "unknown system 'magic'"),
    "unknown dtype": (("{model}", "--device", "l4", "--dtype", "int3"), "unknown dtype 'int3'"),
    "unknown format": (("{model}", "--device", "l4", "--weights", "int3"), "unknown weight format 'int3'"),
    "unknown engine": (("{model}", "--device", "l4", "--engine", "abacus"), "unknown engine 'abacus'"),
    "context that is no number": (("{model}", "--device", "l4", "--context", "1k"), "--context 1k: must be numbers from 2 to"),
    "context of a digit that is no decimal": (("{model}", "--device", "l4", "--context", "²"), "--context ²: must be numbers"),
    "swap without end": (("{model}", "--device", "l4", "--swap", "inf"), "--swap inf: must be at least 0 and below"),
    "memory without end": (("{model}", "--memory", "inf"), "--memory inf: must be above 0 and below"),
    "rate that is no number": (("{model}", "--device", "l4", "--tflops", "nan"), "--tflops nan: must be above 0 and below"),
    "tokens without end": (("{model}", "--device", "l4", "--tokens-per-forward", "inf"), "'--tokens-per-forward'"),
    "batch beyond counting": (("{model}", "--device", "l4", "--batch", "9" * 400), "'--batch'"),
    "head of an unknown format": (("{model}", "--device", "l4", "--head-weights", "int3"), "unknown weight format 'int3'"),
    "no format": (("{model}", "--device", "l4", "--weights", ""), "unknown weight format ''"),
    "embedding of int4": (("{model}", "--device", "l4", "--embedding-weights", "int4"), "an embedding cannot be int4"),
    "group of the head": (("{model}", "--device", "l4", "--head-weights", "int8", "--group", "77"), "groups of 77"),
    "context beyond the model's": (
        ("{model}", "--device", "l4", "--context", "9000"),
        "context 9000 is more than",
    ),
    "context within the generation": (
        ("{model}", "--device", "l4", "--context", "64"),
        "beside gen_length=128: use --context 129 or more, or --gen-length 63",
    ),
    "group that does not divide": (("{model}", "--device", "l4", "--weights", "int4", "--group", "96"), "groups of 96"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_line(name: str, command: Command, llada: Path) -> None:
    arguments, message = BAD[name]
    code, out, err = command("plan", *(argument.format(model=llada) for argument in arguments))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


WITHOUT_TORCH = """
import sys
for name in ("torch", "onnx", "onnxscript"):
    sys.modules[name] = None
from dllm_edge.scripts.cli.main import main
main(sys.argv[1:])
"""


def test_planning_needs_no_torch(llada: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, "plan", str(llada), "--device", "h100"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
