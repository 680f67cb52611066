from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dllm_edge.export.plan.decode import Decode, steps_of
from dllm_edge.export.plan.devices import GB, Device, find_device
from dllm_edge.export.plan.estimate import estimate
from dllm_edge.export.plan.memory import activations, new_rows
from dllm_edge.export.plan.model import Precision, Subject
from dllm_edge.export.plan.target import HEADROOM, Target, target_of
from dllm_edge.graphs.dtypes import DType
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.graphs.weight_formats import WeightFormat, WeightFormats
from dllm_edge.scripts.benchmarks import decode_once

from .models import llada_8b, subject

HOST = Device("described", "host", 64 * GB, None)
CARD, ORIN = find_device("l4"), find_device("agx-orin-32gb")
DUAL = Decode("fast-dllm-dual", 1024)
INT8, INT4 = (WeightFormats(linear=WeightFormat(name, 64)) for name in ("int8", "int4"))


def on(device: Device, engine: str = "tensorrt", flavour: str | None = None, **changes: int) -> Target:
    return replace(target_of(device, engine, flavour, desktop=False, swap=0), **changes)  # type: ignore[arg-type]


def shaped(parameters: tuple[int, ...]) -> Subject:
    """A model of these layers, hidden size, heads, key heads, feed-forward size and vocabulary."""
    names = ("layers", "hidden_size", "heads", "kv_heads", "intermediate_size", "vocab_size")
    sizes: dict[str, Any] = dict(zip(names, parameters, strict=True))
    return subject(replace(llada_8b(), head_dim=64, mask_token_id=1, eos_token_ids=(2,), **sizes))


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
    found = estimate(Subject.read(many_heads), decode, on(HOST, "onnxruntime"))
    assert found.peak_cache == caches
    assert max(found.run, found.load) == pytest.approx(peak, rel=0.25)


@pytest.mark.parametrize(
    ("parameters", "precision", "resident", "plan"),
    [
        ((30, 576, 9, 3, 1536, 49152), Precision("bfloat16"), 1_693_696_000, 362_407_924),
        ((24, 896, 14, 2, 4864, 65536), Precision("bfloat16"), 3_794_788_352, 981_591_084),
        ((30, 576, 9, 3, 1536, 49152), Precision("bfloat16", INT8), 1_590_697_984, 330_571_260),
        ((30, 576, 9, 3, 1536, 49152), Precision("bfloat16", INT4), 1_246_646_272, 207_213_052),
    ],
)
def test_a_build_takes_what_was_measured(parameters: tuple[int, ...], precision: Precision, resident: int, plan: int) -> None:
    """TensorRT-RTX 1.7.1 for sm89 without a GPU, two profiles, fused."""
    found = estimate(replace(shaped(parameters), precision=precision), Decode("fast-dllm-dual", 512), on(CARD))
    assert found.build == pytest.approx(resident, rel=0.05)
    assert found.weights == pytest.approx(plan, rel=0.05)


def test_a_run_is_the_sum_of_its_parts() -> None:
    found = estimate(subject(), DUAL, on(CARD))
    assert found.run == found.weights + found.peak_cache + found.activations + found.runtime
    assert found.stored == 2 * 8_015_581_184
    assert found.stored < found.weights < 1.01 * found.stored
    assert found.steady_cache == found.peak_cache == 1024 * 524_288


def test_int4_weights_are_a_quarter_and_their_scales() -> None:
    small = replace(subject(), precision=Precision("bfloat16", WeightFormats(linear=WeightFormat("int4", 128))))
    outer = 2 * 126464 * 4096 * 2
    share = (estimate(small, DUAL, on(CARD)).stored - outer) / (estimate(subject(), DUAL, on(CARD)).stored - outer)
    assert share == pytest.approx((4 + 16 / 128) / 16, rel=1e-3)


def test_a_cpu_holds_float32_and_folds_it_while_loading() -> None:
    found = estimate(subject(), DUAL, on(HOST, "onnxruntime"))
    assert found.weights == 2 * found.stored
    assert found.peak_cache == 2 * estimate(subject(), DUAL, on(CARD)).peak_cache
    assert 2 * found.weights < found.load < 2.7 * found.weights
    assert found.build == 0
    plain = estimate(subject(dtype="float32"), DUAL, on(HOST, "onnxruntime"))
    assert plain.weights < plain.load < 1.3 * plain.weights


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
    found = estimate(replace(model, precision=precision), Decode("vanilla", 256), on(HOST, "onnxruntime"))
    mapped = model.config.vocab_size * model.config.hidden_size * 4
    assert found.weights - mapped + found.runtime == pytest.approx(after, rel=0.1)
    assert found.load == pytest.approx(peak, rel=0.25)


def test_shared_memory_holds_builds_too() -> None:
    card, orin = estimate(subject(), DUAL, on(CARD, flavour="portable")), estimate(subject(), DUAL, on(ORIN))
    assert (card.run, card.load, card.build) == (orin.run, orin.load, orin.build)
    assert card.build > 3 * card.stored
    assert card.build_limit is None
    assert (set(card.over), set(orin.over)) == (set(), {"build"})
    assert orin.over["build"] == orin.build - orin.limit


def test_swap_is_for_builds_alone() -> None:
    assert estimate(subject(), DUAL, on(ORIN, swap=30 * GB)).fits
    assert set(estimate(subject(dtype="float32"), DUAL, on(ORIN, swap=100 * GB)).over) == {"load", "run"}


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
    with_scores = estimate(subject(dtype=dtype), decode, target).activations
    scores = 32 * 2048 * 2048 * 4
    profile = steps_of(subject().config, decode).full
    rows = new_rows(subject().config, dtype, profile)
    without = activations(subject().config, dtype, profile, 0) + rows
    assert with_scores >= without
    # The feed-forward part, which they are not beside, takes some of their place.
    assert with_scores - without == pytest.approx(arrays * scores, abs=0.4 * scores)


@pytest.mark.parametrize("system", ["vanilla", "fast-dllm-dual", "sparse-dllm"])
def test_keys_and_values_that_no_cache_takes_count(system: str) -> None:
    found = estimate(subject(), Decode(system, 2048), on(CARD))
    whole = activations(subject().config, "bfloat16", found.steps.full, 0)
    assert found.activations == whole + (0 if system == "fast-dllm-dual" else 2048 * 524_288)


def test_what_a_plan_may_fill() -> None:
    assert on(CARD).limit == int(HEADROOM * 24 * GB)
    assert on(ORIN).limit == int(HEADROOM * (32 - 0.9) * GB)
    assert target_of(ORIN, "tensorrt", None, desktop=True, swap=0).limit == int(HEADROOM * 30 * GB)


@pytest.mark.parametrize("swap", [-1, float("inf"), float("nan")])
def test_swap_that_is_no_size(swap: float) -> None:
    with pytest.raises(DllmEdgeError, match=f"--swap {swap}: must be at least 0 and below 1000000, in GB"):
        target_of(ORIN, "tensorrt", None, desktop=False, swap=swap)


def test_the_flavour_follows_the_device() -> None:
    assert (on(ORIN).flavour, on(CARD).flavour, on(find_device("thor")).flavour) == ("portable", "fused", "fused")
    with pytest.raises(DllmEdgeError, match="unknown flavour 'mild': choose one of fused, portable"):
        on(CARD, flavour="mild")
    with pytest.raises(DllmEdgeError, match="unknown engine 'abacus': choose one of tensorrt, onnxruntime"):
        on(CARD, engine="abacus")
