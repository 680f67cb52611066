"""The engine on ONNX Runtime: what it writes where, and that whichever way its buffers are reused, it computes the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dllm_edge.graphs import contract
from dllm_edge.graphs.contract import Profile
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.base import Engine, Lanes, StepOutputs
from dllm_edge.runtime.engines.host import REUSE_LIMIT, HostCache, HostCaches, arrays, lane_tensors
from dllm_edge.runtime.engines.onnxruntime.cpu import OnnxRuntimeEngine

Array = NDArray[Any]
TOLERANCE = 2e-4
# What comes before the keys and values.
HEAD_OUTPUTS = len(fields(StepOutputs))


@pytest.fixture(scope="module", params=["llada", "dream"])
def bundle(request: pytest.FixtureRequest, handed_down: Callable[[str], Path]) -> Bundle:
    return Bundle.open(handed_down(request.param))


@pytest.fixture(scope="module", params=["fused", "portable"])
def engine(request: pytest.FixtureRequest, bundle: Bundle) -> OnnxRuntimeEngine:
    chosen = OnnxRuntimeEngine(bundle, threads=1)
    if (chosen.flavour, request.param) == ("portable", "fused"):
        pytest.skip("this ONNX Runtime runs the portable flavour alone")
    return chosen if chosen.flavour == request.param else OnnxRuntimeEngine(bundle, 1, request.param)


def fill(engine: HostCaches, profile: Profile, seed: int = 0) -> None:
    """Random tokens at random positions; six of ten keys are visible, a row to itself always."""
    random, inputs = np.random.default_rng(seed), engine.inputs(profile)
    inputs.input_ids[:] = random.integers(0, 250, inputs.input_ids.shape)
    inputs.position_ids[:] = random.integers(0, 100, inputs.position_ids.shape)
    inputs.attention_mask[:] = random.random(inputs.attention_mask.shape) < 0.6
    rows = np.arange(profile.queries)
    inputs.attention_mask[:, :, rows, profile.capacity + rows] = True
    inputs.logit_rows[:] = random.integers(0, profile.queries, inputs.logit_rows.shape)
    inputs.target_ids[:] = random.integers(0, 250, inputs.target_ids.shape)
    inputs.saliency_weights[:] = random.random(inputs.saliency_weights.shape)


def noisy(engine: HostCaches, batch: int, capacity: int, seed: int = 0) -> HostCache:
    cache = engine.allocate(batch, capacity)
    cache.tensors[:] = np.random.default_rng(seed).standard_normal(cache.tensors.shape)
    return cache


def copied(outputs: StepOutputs) -> list[Array]:
    return [array.copy() for array in arrays(outputs)]


def plain(engine: OnnxRuntimeEngine, profile: Profile, cache: Lanes | None) -> list[Array]:
    """All outputs of the step whose inputs are filled in, by feeding arrays to the session: nothing is bound."""
    past = lane_tensors(cache) if cache else engine.buffers(engine.input_specs[6:], profile)
    feed = zip(engine.input_specs, [*arrays(engine.inputs(profile)), *past], strict=True)
    results = engine.session.run([spec.name for spec in engine.output_specs], {spec.name: array for spec, array in feed})
    return [np.asarray(result) for result in results]


def test_a_block_step_writes_nothing_into_the_cache(engine: OnnxRuntimeEngine) -> None:
    profile, cache = Profile(2, 4, 9, 4), noisy(engine, 3, 9)
    address, before = cache.tensors.ctypes.data, cache.tensors.tobytes()
    outputs = []
    for seed in range(4):
        fill(engine, profile, seed)
        outputs.append(copied(engine.run(profile, Lanes(cache, 1, 2), keep_rows=seed % 2 == 1)))
    assert cache.tensors.ctypes.data == address
    assert cache.tensors.tobytes() == before
    assert not np.array_equal(outputs[0][1], outputs[1][1])


def test_bound_buffers_keep_their_addresses(engine: OnnxRuntimeEngine) -> None:
    profile, cache = Profile(1, 4, 9, 4), noisy(engine, 1, 9)
    inputs, outputs = engine.inputs(profile), engine.workspace(profile).outputs
    addresses = [array.ctypes.data for buffers in (inputs, outputs) for array in arrays(buffers)]
    for seed in range(3):
        fill(engine, profile, seed)
        assert engine.run(profile, Lanes(cache, 0, 1)) is outputs
        assert [array.ctypes.data for buffers in (inputs, outputs) for array in arrays(buffers)] == addresses
    assert len(engine.workspace(profile).bindings) == 1


@pytest.mark.parametrize("lane", [0, 1, 2])
def test_a_refresh_lands_in_its_own_lane_alone(lane: int, engine: OnnxRuntimeEngine) -> None:
    profile, cache = Profile(1, 7, 0, 3), noisy(engine, 3, 7)
    before = cache.tensors.copy()
    fill(engine, profile)
    engine.run(profile, None, bind=Lanes(cache, lane, 1))
    others = [other for other in range(3) if other != lane]
    assert (cache.tensors[:, others] == before[:, others]).all()
    for tensor, expected in zip(cache.tensors[:, lane], plain(engine, profile, None)[HEAD_OUTPUTS:], strict=True):
        assert (tensor == expected[0]).all()


@pytest.mark.parametrize("profile", [Profile(1, 7, 0, 3), Profile(2, 4, 9, 4), Profile(3, 1, 1, 1, 2), Profile(1, 5, 9, 5)])
def test_a_bound_step_is_the_same_as_one_that_is_fed(profile: Profile, engine: OnnxRuntimeEngine) -> None:
    """C = 0, one slot, lanes from the middle."""
    cache = Lanes(noisy(engine, 4, profile.capacity), 1, profile.batch) if profile.capacity else None
    fill(engine, profile)
    outputs = copied(engine.run(profile, cache, keep_rows=True))
    for bound, fed in zip([*outputs, *engine.kept_rows], plain(engine, profile, cache), strict=True):
        assert (bound == fed).all()


@pytest.mark.parametrize(
    ("profile", "lanes", "bind"),
    [
        (Profile(1, 4, 5, 1), 6, 0),
        (Profile(2, 4, 6, 1), 6, 0),
        (Profile(1, 4, 6, 1), 0, 0),
        (Profile(1, 4, 0, 1), 0, 5),
        (Profile(1, 4, 0, 1), 0, 3),
    ],
)
def test_what_does_not_fit_is_never_bound(profile: Profile, lanes: int, bind: int, engine: OnnxRuntimeEngine) -> None:
    """By address nothing else would notice: the graph would read and write beyond the cache."""
    past, new = (Lanes(noisy(engine, 1, capacity), 0, 1) if capacity else None for capacity in (lanes, bind))
    with pytest.raises(AssertionError):
        engine.run(profile, past, bind=new)


@pytest.mark.parametrize("bound", [False, True])
def test_kept_rows_can_be_stored(bound: bool, engine: OnnxRuntimeEngine) -> None:
    """Of a block step, and of a refresh, whose rows went into a lane."""
    profile, cache, target = Profile(1, 6, 0, 1), noisy(engine, 2, 6), noisy(engine, 1, 5, seed=1)
    fill(engine, profile)
    engine.run(profile, None, bind=Lanes(cache, 1, 1) if bound else None, keep_rows=True)
    engine.store(Lanes(target, 0, 1), np.array([4, 2]), 0, np.array([0, 5]))
    for stored, expected in zip(target.tensors[:, 0], plain(engine, profile, None)[HEAD_OUTPUTS:], strict=True):
        assert (stored[:, [4, 2]] == expected[0][:, [0, 5]]).all()


def test_no_rows_are_kept_unless_asked_for(engine: OnnxRuntimeEngine) -> None:
    profile = Profile(1, 3, 0, 1)
    fill(engine, profile)
    engine.run(profile, None, keep_rows=True)
    engine.run(profile, None)
    assert engine.kept_rows == []


def test_saliency_is_that_of_the_queries_and_the_keys(engine: OnnxRuntimeEngine, bundle: Bundle) -> None:
    """Over each query head by itself: a key head serves several, and the graph reports the mean of their group."""
    profile, cache = Profile(1, 7, 0, 2), noisy(engine, 1, 7)
    fill(engine, profile)
    queries = copied(engine.run(profile, None, bind=Lanes(cache, 0, 1)))[-1][0]
    scores = engine.saliency(Lanes(cache, 0, 1), queries)
    assert queries.shape == (bundle.config.layers, bundle.config.kv_heads, bundle.config.head_dim)
    for layer in range(bundle.config.layers):
        expected = np.mean(
            [cache.tensors[2 * layer, 0, head] @ queries[layer, head] for head in range(bundle.config.kv_heads)], axis=0
        )
        np.testing.assert_allclose(scores[layer], expected, rtol=1e-4, atol=1e-4)


def test_caches_that_come_and_go_are_never_mixed_up(engine: OnnxRuntimeEngine) -> None:
    """Bindings are remembered by address, and a freed cache's address is soon another's, of this shape or of another."""
    random, places = np.random.default_rng(0), set()
    for turn in range(3 * REUSE_LIMIT):
        batch, capacity = int(random.integers(1, 4)), int(random.choice([6, 9]))
        cache = noisy(engine, batch, capacity, seed=turn)
        places.add(cache.tensors.ctypes.data)
        first = int(random.integers(0, batch))
        lanes = Lanes(cache, first, int(random.integers(1, batch - first + 1)))
        step, refresh = Profile(lanes.count, 3, capacity, 3), Profile(1, capacity, 0, 1)
        fill(engine, refresh, turn)
        engine.run(refresh, None, bind=Lanes(cache, first, 1))
        for tensor, expected in zip(cache.tensors[:, first], plain(engine, refresh, None)[HEAD_OUTPUTS:], strict=True):
            assert (tensor == expected[0]).all()
        fill(engine, step, turn)
        outputs = copied(engine.run(step, lanes))
        for bound, fed in zip(outputs, plain(engine, step, lanes), strict=False):
            assert (bound == fed).all()
        del cache, lanes
    assert len(places) < 3 * REUSE_LIMIT


def test_memory_does_not_grow_with_the_number_of_caches(engine: OnnxRuntimeEngine) -> None:
    profile = Profile(1, 3, 5, 1)
    caches = [noisy(engine, 1, 5) for _ in range(REUSE_LIMIT + 5)]
    for cache in caches:
        engine.run(profile, Lanes(cache, 0, 1))
    assert len(engine.workspace(profile).bindings) == REUSE_LIMIT
    for length in range(REUSE_LIMIT + 5):
        engine.inputs(Profile(1, length + 1, 0, 1))
    assert len(engine.workspaces) == REUSE_LIMIT


def test_flavours_and_torch_agree(bundle: Bundle) -> None:
    pytest.importorskip("torch")
    from dllm_edge.export.parity.reference import reference_step
    from dllm_edge.export.parity.torch_engine import TorchEngine

    engines: list[HostCaches] = [OnnxRuntimeEngine(bundle, 1, flavour) for flavour in ("fused", "portable")]
    engines.append(TorchEngine(reference_step(bundle, None)))
    for profile in (Profile(2, 5, 8, 3, 2), Profile(1, 8, 0, 8), Profile(3, 1, 1, 1)):
        answers = []
        for engine in engines:
            cache = Lanes(noisy(engine, 4, profile.capacity), 1, profile.batch) if profile.capacity else None
            fill(engine, profile)
            assert isinstance(engine, OnnxRuntimeEngine | TorchEngine)
            outputs = copied(engine.run(profile, cache, keep_rows=True))
            answers.append([*outputs, *(kept.copy() for kept in engine.kept_rows)])
        for other in answers[1:]:
            assert (answers[0][0] == other[0]).mean() > 0.99
            for mine, its in zip(answers[0][1:], other[1:], strict=True):
                np.testing.assert_allclose(mine, its, atol=TOLERANCE)


@pytest.mark.parametrize("options", [{"compute_dtype": "bfloat16"}, {"compute_dtype": "int8"}, {"flavour": "fast"}])
def test_what_it_cannot_run(options: dict[str, str], bundle: Bundle) -> None:
    with pytest.raises(DllmEdgeError):
        OnnxRuntimeEngine(bundle, **options)  # type: ignore[arg-type]


def test_the_protocol_holds(engine: OnnxRuntimeEngine, bundle: Bundle) -> None:
    served: Engine = engine
    assert (served.name, served.config) == ("onnxruntime", bundle.config)
    assert served.profile(Profile(1, 2, 3, 4)) == Profile(1, 2, 3, 4)
    assert [spec.name for spec in engine.input_specs[:6]] == [
        field.name for field in fields(engine.inputs(Profile(1, 1, 0, 1)))
    ]
    assert len(engine.output_specs) == len(contract.outputs(bundle.config, "float32", bundle.manifest.candidates))
