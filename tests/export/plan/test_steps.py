"""The plan's steps and caches against what the scheduler really asks of an engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dllm_edge.export.plan.decode import Decode
from dllm_edge.export.plan.model import PlannedModel
from dllm_edge.export.plan.steps import steps_of
from dllm_edge.graphs.contract import Profile, cache_bytes
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.base import Lanes, StepOutputs
from dllm_edge.runtime.engines.onnxruntime.cpu import OnnxRuntimeEngine
from dllm_edge.runtime.generate import Model
from dllm_edge.runtime.systems import SYSTEMS

from .models import llada_8b

PROMPT, GENERATED, BLOCK = 20, 16, 8
CONTEXT = PROMPT + GENERATED


class Recorded(OnnxRuntimeEngine):
    """Remembers the sizes of the steps that it ran."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, threads=1)
        self.profiles: set[Profile] = set()

    def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
        self.profiles.add(profile)
        return super().run(profile, cache, bind, keep_rows)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("retention", [0.5, 0.25])
@pytest.mark.parametrize("name", SYSTEMS)
def test_caches_and_steps_are_the_schedulers(name: str, retention: float, batch: int, tiny_bundle: Callable[..., Path]) -> None:
    bundle = Bundle.open(tiny_bundle("llada"))
    decode = Decode(name, CONTEXT, GENERATED, BLOCK, retention, batch)
    engine = Recorded(bundle)
    own: dict[str, Any] = {"retention": retention} if "retention" in SYSTEMS[name].setting_names else {}
    own |= {} if SYSTEMS[name].rules else {"unmask": "quota"}
    prompts = [[1 + index] * PROMPT for index in range(batch)]
    results = Model(bundle, engine).generate_batch(
        prompts, system=name, gen_length=GENERATED, block_length=BLOCK, early_stop=False, **own
    )
    steps = steps_of(bundle.config, decode)
    assert cache_bytes(bundle.config, "float32", steps.steady_slots) == results[0].steady_cache_bytes
    assert cache_bytes(bundle.config, "float32", steps.peak_slots) == results[0].peak_cache_bytes
    assert set(steps.profiles) <= engine.profiles
    assert max(profile.queries for profile in engine.profiles) == steps.full.queries == CONTEXT + BLOCK * (name == "wino")
    assert {profile.capacity for profile in engine.profiles} == {0, steps.capacity}


@pytest.mark.parametrize(
    ("name", "steady", "peak"),
    [
        ("vanilla", 0, 0),
        ("fast-dllm-prefix", 2048, 2048),
        ("fast-dllm-dual", 2048, 2048),
        ("sparse-dllm", (2048 - 32) // 2, (2048 - 32) // 2 + 2048),
        ("streaming-dllm", 2048, 2048),
    ],
)
def test_cache_bytes_of_llada_8b(name: str, steady: int, peak: int) -> None:
    config = llada_8b()
    steps = steps_of(config, Decode(name, 2048))
    slot = 2 * 32 * 32 * 128 * 2  # keys and values, layers, heads, head size, bytes of bfloat16
    assert cache_bytes(config, "bfloat16", steps.steady_slots) == steady * slot
    assert cache_bytes(config, "bfloat16", steps.peak_slots) == peak * slot == cache_bytes(config, "bfloat16", peak)


@pytest.mark.parametrize(
    ("name", "queries", "mean"),
    [("fast-dllm-dual", 32, 32), ("fast-dllm-prefix", 128, 80), ("streaming-dllm", 65, (65 + 65 + 64 + 32) / 4)],
)
def test_what_block_steps_send_at_most_and_on_average(name: str, queries: int, mean: float) -> None:
    """The prefix cache sends what follows, too: 128, 96, 64 and 32 tokens in the four blocks; a pruned suffix has up to 33."""
    steps = steps_of(llada_8b(), Decode(name, 2048))
    assert steps.block is not None
    assert (steps.block.queries, steps.mean_queries) == (queries, mean)


def test_refreshes_that_are_too_narrow_to_fill_the_cache() -> None:
    """Of a long generation most is pruned: the first block's refresh sends 512 + 32 + 33; from 1,536 on the cache is filled."""
    steps = steps_of(llada_8b(), Decode("streaming-dllm", 2048, gen_length=1536))
    assert steps.copied is not None
    widths = [width if width < 1536 else 2048 for width in range(577, 2048, 32)] + [2048, 2048]
    assert (steps.full.queries, steps.copied.queries) == (2048, max(width for width in widths if width < 1536))
    assert steps.full_queries == pytest.approx(sum(widths) / len(widths))
    assert steps.unbound == (steps.copied, steps.block)


@pytest.mark.parametrize(
    ("decode", "message"),
    [
        (Decode("fast-dllm-dual", 128), "context 128, .* has no room for a prompt beside gen_length=128"),
        (Decode("fast-dllm-dual", 1 << 20), "context 1048576 is more than the 4096 positions of this model"),
        (Decode("vanilla", 512, block_length=-1), "block_length=-1: must be at least 0"),
        (Decode("magic", 512), "unknown system 'magic'"),
    ],
)
def test_lengths_that_do_not_fit(decode: Decode, message: str) -> None:
    with pytest.raises(DllmEdgeError, match=message):
        steps_of(llada_8b(), decode)


def test_a_block_causal_model_has_no_caches(tiny_bundle: Callable[..., Path]) -> None:
    config = PlannedModel.read(tiny_bundle("sdar")).config
    assert steps_of(config, Decode("vanilla", 200)).capacity == 0
    with pytest.raises(DllmEdgeError, match="fast-dllm-dual is not for models with block-causal attention"):
        steps_of(config, Decode("fast-dllm-dual", 200))


@pytest.mark.parametrize(
    ("name", "unbound", "full", "evicts"),
    [
        ("vanilla", 1, [1, 2, 8], False),
        ("fast-dllm-prefix", 1, [1, 1, 1], False),
        ("fast-dllm-dual", 1, [1, 1, 1], False),
        ("sparse-dllm", 2, [1, 2, 2], True),
        ("streaming-dllm", 1, [1, 1, 1], False),
    ],
)
def test_the_full_steps_of_a_block_and_what_they_return(name: str, unbound: int, full: list[int], evicts: bool) -> None:
    steps = steps_of(llada_8b(), Decode(name, 2048))
    assert [steps.full_steps_of(forwards) for forwards in (1, 2, 8)] == full
    assert steps.unbound == steps.profiles[-unbound:]
    assert steps.evicts == evicts


def test_settings_are_those_that_the_system_begins_with() -> None:
    """`dkv-cache` sends all in the first two forwards of a block and in every eighth."""
    assert steps_of(llada_8b(), Decode("dkv-cache", 2048, gen_length=64)).full_steps == 5
