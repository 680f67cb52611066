from __future__ import annotations

import json

import pytest

from dllm_edge import Model, load
from dllm_edge.runtime.evaluation.evaluate import evaluate
from dllm_edge.runtime.evaluation.task import find_task

pytest.importorskip("torch", reason="the checkpoint is exported")

from dllm_edge.export.bundle import export_bundle
from dllm_edge.scripts.cli.terminal.bundles import CHECKPOINT

TASK = find_task("arithmetic")
LARGEST = 12_000_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(export_bundle(CHECKPOINT, tmp_path_factory.mktemp("demo") / "bundle", flavour="fused").path, threads=1)


def test_the_checkpoint_is_small_and_in_lladas_layout() -> None:
    assert sum(file.stat().st_size for file in CHECKPOINT.iterdir()) <= LARGEST
    weights = (CHECKPOINT / "model.safetensors").read_bytes()
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
    header.pop("__metadata__", None)
    assert {tensor["dtype"] for tensor in header.values()} == {"F16"}
    assert "model.transformer.blocks.0.attn_out.weight" in header
    assert json.loads((CHECKPOINT / "config.json").read_text())["architectures"] == ["LLaDAModelLM"]


def test_its_bundle_knows_its_task_and_length(model: Model) -> None:
    assert model.bundle.task == TASK.name
    assert model.settings("vanilla").gen_length == 64


@pytest.mark.parametrize("gen_length", [64, 128, 256])
def test_it_solves_held_out_problems(model: Model, gen_length: int) -> None:
    found = evaluate(model, TASK, "fast-dllm-dual", 60, batch=10, gen_length=gen_length)
    assert found.accuracy >= 0.9
    assert found.tokens_per_forward > 4
    assert all(outcome.finish_reason == "stop" for outcome in found.outcomes)


def test_vanilla_solves_them_one_token_a_step(model: Model) -> None:
    found = evaluate(model, TASK, "vanilla", 20, batch=10)
    assert found.accuracy >= 0.9
    assert found.tokens_per_forward < 1
