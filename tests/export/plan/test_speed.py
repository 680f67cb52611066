from __future__ import annotations

from dataclasses import replace

import pytest

from dllm_edge.export.plan.decode import Decode
from dllm_edge.export.plan.devices import Device, describe_device, find_device
from dllm_edge.export.plan.estimate import estimate
from dllm_edge.export.plan.scenario import Scenario
from dllm_edge.export.plan.speed import Speed, speed
from dllm_edge.export.plan.target import target_of

from .models import planned_model

CARD = find_device("a100-80gb")
MATRIX = 126464 * 4096 * 2
WEIGHTS = 2 * 8_015_581_184


def fastest(decode: Decode, device: Device = CARD) -> Speed:
    found = speed(estimate(Scenario(planned_model(), decode, target_of(device))))
    assert found is not None
    return found


def test_a_block_step_reads_weights_and_cache() -> None:
    found = fastest(Decode("fast-dllm-dual", 2048))
    assert found.block is not None
    assert found.block.reading_seconds == pytest.approx((WEIGHTS - MATRIX + 2048 * 524_288) / 1935e9)
    assert not found.block.compute_bound
    assert found.steps_per_second == pytest.approx(1 / found.block.reading_seconds)


def test_a_prefix_cache_multiplies_what_it_sends_on_average() -> None:
    """Blocks of 32 in 128 tokens: 80 rows a step, of which all pass the layers and 32 the head."""
    found = fastest(Decode("fast-dllm-prefix", 2048))
    assert found.block is not None
    rows = 2 * (WEIGHTS // 2 - 2 * 126464 * 4096) * 80 + 4 * 32 * 4096 * 80 * (2048 + 80) + 2 * 32 * 126464 * 4096
    assert found.block.multiplying_seconds == pytest.approx(rows / 312e12)


def test_pruned_refreshes_multiply_what_they_send_on_average() -> None:
    """Of 1,536 tokens to generate: 577 rows in the first block, 32 more in each, and 2,048 from 1,536 on."""
    decode = Decode("streaming-dllm", 2048, gen_length=1536)
    mean = (sum(range(577, 1536, 32)) + 18 * 2048) / 48
    rows = 2 * (WEIGHTS // 2 - 2 * 126464 * 4096) * mean + 4 * 32 * 4096 * mean * mean + 2 * 32 * 126464 * 4096
    assert fastest(decode).full.multiplying_seconds == pytest.approx(rows / 312e12)


def test_a_long_canvas_is_bound_by_arithmetic() -> None:
    found = fastest(Decode("vanilla", 2048))
    assert found.block is None
    assert found.full.compute_bound
    parameters = WEIGHTS // 2 - 2 * 126464 * 4096
    rows = 2 * parameters * 2048 + 4 * 32 * 4096 * 2048 * 2048 + 2 * 32 * 126464 * 4096
    assert found.full.multiplying_seconds == pytest.approx(rows / 312e12)
    assert found.steps_per_second == pytest.approx(312e12 / rows)


def test_where_no_rate_is_known_reading_alone_counts() -> None:
    found = fastest(Decode("vanilla", 2048), replace(CARD, flops=None))
    assert found.full.multiplying_seconds is None
    assert found.full.seconds == found.full.reading_seconds


def test_where_no_bandwidth_is_known_there_is_no_speed() -> None:
    target = target_of(describe_device(memory_gb=24))
    assert speed(estimate(Scenario(planned_model(), Decode("vanilla", 512), target))) is None


def test_a_block_of_tokens_has_its_refreshes() -> None:
    dual, sparse, vanilla = (fastest(Decode(name, 1024)) for name in ("fast-dllm-dual", "sparse-dllm", "vanilla"))
    assert dual.block is not None
    assert sparse.block is not None
    assert dual.tokens_per_second(4) == pytest.approx(32 / (dual.full.seconds + 7 * dual.block.seconds))
    assert sparse.tokens_per_second(4) == pytest.approx(32 / (2 * sparse.full.seconds + 6 * sparse.block.seconds))
    assert vanilla.tokens_per_second(4) == pytest.approx(4 / vanilla.full.seconds)
    assert dual.tokens_per_second(32) == pytest.approx(32 / dual.full.seconds)


@pytest.mark.parametrize(("context", "together"), [(2048, 1), (1024, 2), (512, 4), (256, 5)])
def test_a_batch_shares_block_steps_and_small_refreshes(context: int, together: int) -> None:
    alone, five = fastest(Decode("fast-dllm-dual", context)), fastest(Decode("fast-dllm-dual", context, batch=5))
    assert five.block is not None
    assert alone.full.multiplying_seconds is not None
    assert five.full.multiplying_seconds == pytest.approx(together * alone.full.multiplying_seconds)
    refreshes = -(-5 // together)
    assert five.tokens_per_second(4) == pytest.approx(5 * 32 / (refreshes * five.full.seconds + 7 * five.block.seconds))


def test_a_cpu_reads_float32() -> None:
    target = target_of(describe_device(memory_gb=64, bandwidth_gb=50, host=True), engine="onnxruntime")
    found = speed(estimate(Scenario(planned_model(), Decode("vanilla", 512), target)))
    assert found is not None
    assert found.full.reading_seconds == pytest.approx(2 * (WEIGHTS - MATRIX) / 50e9)
