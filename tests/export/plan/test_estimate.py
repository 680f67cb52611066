from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dllm_edge.export.plan.activations import activation_bytes, new_row_bytes
from dllm_edge.export.plan.decode import Decode
from dllm_edge.export.plan.devices import GB, Device, find_device
from dllm_edge.export.plan.estimate import Estimate, estimate
from dllm_edge.export.plan.model import PlannedModel, Precision
from dllm_edge.export.plan.scenario import Scenario
from dllm_edge.export.plan.steps import steps_of
from dllm_edge.export.plan.target import Target, target_of
from dllm_edge.graphs.dtypes import DType
from dllm_edge.graphs.weight_formats import WeightFormat, WeightFormats
from dllm_edge.scripts.benchmarks import decode_once

from .models import llada_8b, planned_model

HOST = Device("described", "host", 64 * GB, None)
CARD, ORIN = find_device("l4"), find_device("agx-orin-32gb")
DUAL = Decode("fast-dllm-dual", 1024)
INT8, INT4 = (WeightFormats(linear=WeightFormat(name, 64)) for name in ("int8", "int4"))


def on(device: Device, engine: str = "tensorrt", flavour: str | None = None, **changes: int) -> Target:
    return replace(target_of(device, engine=engine, flavour=flavour), **changes)  # type: ignore[arg-type]


def estimated(model: PlannedModel, decode: Decode, target: Target) -> Estimate:
    return estimate(Scenario(model, decode, target))


def shaped(parameters: tuple[int, ...]) -> PlannedModel:
    """A model of these layers, hidden size, heads, key heads, feed-forward size and vocabulary."""
    names = ("layers", "hidden_size", "heads", "kv_heads", "intermediate_size", "vocab_size")
    sizes: dict[str, Any] = dict(zip(names, parameters, strict=True))
    return planned_model(replace(llada_8b(), head_dim=64, mask_token_id=1, eos_token_ids=(2,), **sizes))


@pytest.fixture(scope="module")
def many_heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose scores are many and whose weights are few."""
    from dllm_edge.export.bundle import export_bundle
    from dllm_edge.scripts.checkpoints.random_llada import Shape, write_random_llada

    folder = tmp_path_factory.mktemp("heads")
    shape = Shape(layers=3, hidden=512, heads=16, kv_heads=4, intermediate=1024, vocab=24576, shards=1)
    write_random_llada(folder / "checkpoint", shape)
    export_bundle(folder / "checkpoint", folder / "bundle", dtype="float32", flavour="fused")
    return folder / "bundle"


@pytest.mark.parametrize("context", [512, 1536])
def test_a_cpus_memory_is_what_was_planned(context: int, many_heads: Path) -> None:
    """Within 25%: allocators round up, and keep what they had."""
    command = [sys.executable, "-m", decode_once.__name__, str(many_heads), str(context)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    peak, caches = json.loads(done.stdout)
    decode = Decode("fast-dllm-dual", context, gen_length=decode_once.GEN_LENGTH)
    found = estimated(PlannedModel.read(many_heads), decode, on(HOST, "onnxruntime"))
    assert found.peak_cache_bytes == caches
    assert max(found.run_bytes, found.load_bytes) == pytest.approx(peak, rel=0.25)


@pytest.mark.parametrize(
    ("parameters", "precision", "resident", "engine"),
    [
        ((30, 576, 9, 3, 1536, 49152), Precision("bfloat16"), 1_693_696_000, 362_407_924),
        ((24, 896, 14, 2, 4864, 65536), Precision("bfloat16"), 3_794_788_352, 981_591_084),
        ((30, 576, 9, 3, 1536, 49152), Precision("bfloat16", INT8), 1_590_697_984, 330_571_260),
        ((30, 576, 9, 3, 1536, 49152), Precision("bfloat16", INT4), 1_246_646_272, 207_213_052),
    ],
)
def test_a_build_takes_what_was_measured(parameters: tuple[int, ...], precision: Precision, resident: int, engine: int) -> None:
    """TensorRT-RTX 1.7.1 for sm89 without a GPU, two profiles, fused."""
    found = estimated(replace(shaped(parameters), precision=precision), Decode("fast-dllm-dual", 512), on(CARD))
    assert found.build_bytes == pytest.approx(resident, rel=0.05)
    assert found.weight_bytes == pytest.approx(engine, rel=0.05)


def test_a_run_is_the_sum_of_its_parts() -> None:
    found = estimated(planned_model(), DUAL, on(CARD))
    assert found.run_bytes == found.weight_bytes + found.peak_cache_bytes + found.activation_bytes + found.runtime_bytes
    assert found.stored_weight_bytes == 2 * 8_015_581_184
    assert found.stored_weight_bytes < found.weight_bytes < 1.01 * found.stored_weight_bytes
    assert found.steady_cache_bytes == found.peak_cache_bytes == 1024 * 524_288


def test_int4_weights_are_a_quarter_and_their_scales() -> None:
    small = replace(planned_model(), precision=Precision("bfloat16", WeightFormats(linear=WeightFormat("int4", 128))))
    outer = 2 * 126464 * 4096 * 2
    stored = [estimated(model, DUAL, on(CARD)).stored_weight_bytes - outer for model in (small, planned_model())]
    assert stored[0] / stored[1] == pytest.approx((4 + 16 / 128) / 16, rel=1e-3)


def test_a_cpu_holds_float32_and_folds_it_while_loading() -> None:
    found = estimated(planned_model(), DUAL, on(HOST, "onnxruntime"))
    assert found.weight_bytes == 2 * found.stored_weight_bytes
    assert found.peak_cache_bytes == 2 * estimated(planned_model(), DUAL, on(CARD)).peak_cache_bytes
    assert 2 * found.weight_bytes < found.load_bytes < 2.7 * found.weight_bytes
    assert found.build_bytes == 0
    plain = estimated(planned_model(dtype="float32"), DUAL, on(HOST, "onnxruntime"))
    assert plain.weight_bytes < plain.load_bytes < 1.3 * plain.weight_bytes


@pytest.mark.parametrize(
    ("parameters", "precision", "after", "peak"),
    [
        ((30, 576, 9, 3, 1536, 49152), Precision("bfloat16"), 616_087_552, 1_344_598_016),
        ((24, 896, 14, 2, 4864, 65536), Precision("bfloat16"), 1_742_782_464, 4_398_424_064),
        ((30, 576, 9, 3, 1536, 49152), Precision("bfloat16", INT8), 307_621_888, 473_288_704),
    ],
)
def test_loading_on_a_cpu_takes_what_was_measured(
    parameters: tuple[int, ...], precision: Precision, after: int, peak: int
) -> None:
    """ONNX Runtime 1.31.1; what the embedding's mapped file takes is not in the resident memory after loading."""
    model = shaped(parameters)
    found = estimated(replace(model, precision=precision), Decode("vanilla", 256), on(HOST, "onnxruntime"))
    mapped = model.config.vocab_size * model.config.hidden_size * 4
    assert found.weight_bytes - mapped + found.runtime_bytes == pytest.approx(after, rel=0.1)
    assert found.load_bytes == pytest.approx(peak, rel=0.25)


def test_shared_memory_holds_builds_too() -> None:
    card, orin = estimated(planned_model(), DUAL, on(CARD, flavour="portable")), estimated(planned_model(), DUAL, on(ORIN))
    assert (card.run_bytes, card.load_bytes, card.build_bytes) == (orin.run_bytes, orin.load_bytes, orin.build_bytes)
    assert card.build_bytes > 3 * card.stored_weight_bytes
    assert card.scenario.target.build_limit_bytes is None
    assert (set(card.missing_bytes), set(orin.missing_bytes)) == (set(), {"build"})
    assert orin.missing_bytes["build"] == orin.build_bytes - orin.scenario.target.limit_bytes


def test_swap_is_for_builds_alone() -> None:
    assert estimated(planned_model(), DUAL, on(ORIN, swap_bytes=30 * GB)).fits
    assert set(estimated(planned_model(dtype="float32"), DUAL, on(ORIN, swap_bytes=100 * GB)).missing_bytes) == {"load", "run"}


@pytest.mark.parametrize(
    ("engine", "flavour", "dtype", "arrays"),
    [
        ("tensorrt", "portable", "bfloat16", 3),
        ("tensorrt", "fused", "float32", 1),
        ("onnxruntime", "fused", "bfloat16", 1),
        ("tensorrt", "fused", "bfloat16", 0),
    ],
)
def test_scores_are_in_memory_where_attention_is_not_fused(engine: str, flavour: str, dtype: DType, arrays: int) -> None:
    target, decode = on(CARD, engine, flavour), Decode("vanilla", 2048)
    with_scores = estimated(planned_model(dtype=dtype), decode, target).activation_bytes
    scores = 32 * 2048 * 2048 * 4
    profile = steps_of(planned_model().config, decode).full
    rows = new_row_bytes(planned_model().config, dtype, profile)
    without = activation_bytes(planned_model().config, dtype, profile, 0) + rows
    assert with_scores >= without
    # The feed-forward part, which they are not beside, takes some of their place.
    assert with_scores - without == pytest.approx(arrays * scores, abs=0.4 * scores)


@pytest.mark.parametrize("system", ["vanilla", "fast-dllm-dual", "sparse-dllm"])
def test_keys_and_values_that_no_cache_takes_count(system: str) -> None:
    found = estimated(planned_model(), Decode(system, 2048), on(CARD))
    whole = activation_bytes(planned_model().config, "bfloat16", found.steps.full, 0)
    assert found.activation_bytes == whole + (0 if system == "fast-dllm-dual" else 2048 * 524_288)
