"""The device loop over host memory, with ONNX Runtime as its executor: real numbers, at the profiles of a build."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dllm_edge.graphs.contract import Profile
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.engines.base import Engine, Lanes
from dllm_edge.runtime.engines.device.engine import DeviceEngine
from dllm_edge.runtime.engines.device.memory import DeviceCache
from dllm_edge.runtime.engines.host import HostCache
from dllm_edge.runtime.engines.onnxruntime.cpu import OnnxRuntimeEngine
from dllm_edge.runtime.scheduler.rehearsal import check_served, derive_workload
from dllm_edge.runtime.scheduler.request import Request
from dllm_edge.runtime.systems import SYSTEMS, find_system

from ...device_engines import ProfiledExecutor, on_host
from ...host_device import HostDevice
from ...host_memory import at
from ...recorder import Recorder, finish

GENERATED, BLOCK = 16, 8
CONTEXTS = (24, 40)
LENGTHS = (5, 13, 21)
SETTINGS: dict[str, dict[str, Any]] = {
    "quota": {"window": 3},
    "saber": {"unmask": "saber", "window": 3},
    "threshold": {"unmask": "threshold", "threshold": 0.3, "window": 3},
}

OWN: dict[str, dict[str, Any]] = {
    "conv": {"unmask": "conv", "conv_window": 3, "conv_mult": 0.1},
    "klass": {"unmask": "klass", "threshold": 0.2, "kl_threshold": 0.2},
    "wino": {"unmask": "wino", "threshold": 0.2},
}
"""Of the systems that do not decode by every rule."""


@pytest.fixture(scope="module", params=["llada", "dream"])
def bundle(request: pytest.FixtureRequest, lively_bundle: Callable[[str], Path]) -> Bundle:
    pytest.importorskip("torch", reason="weights by which the systems differ are drawn with torch")
    return Bundle.open(lively_bundle(request.param))


@pytest.fixture(scope="module")
def reference(bundle: Bundle) -> OnnxRuntimeEngine:
    return OnnxRuntimeEngine(bundle, threads=1)


def settings_of(rule: str) -> Settings:
    return Settings(gen_length=GENERATED, block_length=BLOCK, early_stop=False, **{**SETTINGS, **OWN}[rule])


def engine_for(bundle: Bundle, systems: Sequence[str] = tuple(SYSTEMS), batch: int = 1, **options: Any) -> DeviceEngine:
    uses = [(find_system(name), settings_of("quota")) for name in systems]
    return on_host(bundle, derive_workload(bundle.config, uses, CONTEXTS, batch), **options)


def requests(engine: Engine, system: str, rule: str, lengths: Sequence[int] = LENGTHS) -> list[Request]:
    prompts = [np.random.default_rng(length).integers(0, 200, length).tolist() for length in lengths]
    canvases = [Canvas.from_prompt(prompt, GENERATED, engine.config) for prompt in prompts]
    return [Request(canvas, find_system(system), settings_of(rule)) for canvas in canvases]


@dataclass(frozen=True)
class Decode:
    """What a decode wrote and how often it asked; confidences in the order of the commits."""

    tokens: list[int]
    forwards: int
    refreshes: int
    confidences: list[float]

    def same(self, other: Decode) -> bool:
        alike = (self.tokens, self.forwards, self.refreshes) == (other.tokens, other.forwards, other.refreshes)
        return alike and np.allclose(self.confidences, other.confidences, rtol=1e-3, atol=1e-5)


def decode(engine: Engine, system: str, rule: str, lengths: Sequence[int] = LENGTHS, max_batch: int = 8) -> list[Decode]:
    ends = finish(engine, requests(engine, system, rule, lengths), max_batch)
    return [
        Decode(
            end.request.canvas.tokens.tolist(),
            end.forwards,
            end.refresh_forwards,
            [confidence for commit in end.request.canvas.commits for confidence in commit.confidences.tolist()],
        )
        for end in ends
    ]


def alone(engine: Engine, system: str, rule: str) -> list[Decode]:
    return [one for length in LENGTHS for one in decode(engine, system, rule, [length])]


def same(found: list[Decode], expected: list[Decode]) -> bool:
    return len(found) == len(expected) and all(one.same(other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("system", OWN)
def test_systems_decode_by_their_own_rule_as_on_the_cpu(bundle: Bundle, reference: Engine, system: str) -> None:
    assert same(alone(engine_for(bundle, [system]), system, system), alone(reference, system, system))


@pytest.mark.parametrize("rule", SETTINGS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_decodes_as_on_the_cpu(bundle: Bundle, reference: Engine, system: str, rule: str) -> None:
    assert same(alone(engine_for(bundle, [system]), system, rule), alone(reference, system, rule))


@pytest.mark.parametrize("system", SYSTEMS)
def test_batches_decode_as_alone(bundle: Bundle, reference: Engine, system: str) -> None:
    engine = engine_for(bundle, [system], batch=4)
    assert same(decode(engine, system, "quota", max_batch=3), alone(reference, system, "quota"))


@pytest.mark.parametrize("system", SYSTEMS)
def test_exact_sizes_decode_as_on_the_cpu(bundle: Bundle, reference: Engine, system: str) -> None:
    assert same(decode(on_host(bundle, None), system, "threshold"), alone(reference, system, "threshold"))


def test_one_engine_serves_all_systems_and_lengths(bundle: Bundle, reference: Engine) -> None:
    engine = engine_for(bundle)
    for system in SYSTEMS:
        assert same(alone(engine, system, "quota"), alone(reference, system, "quota"))


def test_the_comparison_tells_systems_apart(reference: Engine) -> None:
    decodes = [alone(reference, name, (system.rules or ("quota",))[0]) for name, system in SYSTEMS.items()]
    assert not any(same(one, other) for index, one in enumerate(decodes) for other in decodes[:index])


def test_a_pruned_suffix_over_a_whole_prefix(bundle: Bundle, reference: Engine) -> None:
    """Most refreshes are too narrow to fill the cache, so that their rows are copied there."""
    settings = settings_of("threshold").replace(gen_length=32, retention=1.0, unmask="dynamic-threshold")
    streaming = find_system("streaming-dllm")
    engine = on_host(bundle, derive_workload(bundle.config, [(streaming, settings)], (40, 56), 2))
    recorder = Recorder(engine)
    decoded = []
    for one in (recorder, reference):
        prompts = (np.random.default_rng(length).integers(0, 200, length).tolist() for length in (5, 8, 21))
        asked = [Request(Canvas.from_prompt(prompt, 32, one.config), streaming, settings) for prompt in prompts]
        ends = finish(one, asked, max_batch=2)
        decoded.append([(end.request.canvas.tokens.tolist(), end.forwards, end.refresh_forwards) for end in ends])
    assert decoded[0] == decoded[1]
    assert "store" in recorder.operations


def test_steps_of_a_block_are_recorded_once_and_cross_in_two_copies(bundle: Bundle) -> None:
    device = HostDevice()
    engine = engine_for(bundle, ["fast-dllm-dual"], device=device)
    (end,) = decode(engine, "fast-dllm-dual", "quota", [21])
    blocks = end.forwards - end.refreshes
    # Each profile's first step runs as it is, all further ones are replayed; a refresh is never recorded.
    assert (device.recorded, device.replayed) == (1, blocks - 1)
    assert (device.uploads, device.downloads, device.copies) == (end.forwards, end.forwards, 0)
    assert device.waits == end.forwards
    # The next decode finds the memory of this one's cache, and with it what was recorded.
    held = len(device.memory)
    decode(engine, "fast-dllm-dual", "quota", [20])
    assert (device.recorded, len(device.memory)) == (1, held)


def test_without_recording_results_are_the_same_and_one_warning_says_so(bundle: Bundle, reference: Engine) -> None:
    engine = engine_for(bundle, ["fast-dllm-dual"], device=HostDevice(records=False))
    with pytest.warns(UserWarning, match="could not be recorded as a CUDA graph") as warnings:
        found = alone(engine, "fast-dllm-dual", "quota")
    assert len(warnings) == 1
    assert same(found, alone(reference, "fast-dllm-dual", "quota"))


def test_eviction_moves_slots_on_the_device(bundle: Bundle) -> None:
    device = HostDevice()
    engine = engine_for(bundle, ["sparse-dllm"], batch=2, device=device)
    recorder = Recorder(engine)
    decode(recorder, "sparse-dllm", "quota", [21, 20], max_batch=2)
    steps, blocks = len(recorder.launches), 2 * GENERATED // BLOCK
    assert Counter(recorder.operations) == {"saliency": blocks, "select": blocks}
    # One upload and one download a step, and for each block of each sequence up with the queries and the places.
    assert (device.uploads, device.downloads) == (steps + 2 * blocks, steps + blocks)
    assert engine.kept_rows is None
    assert device.copies == 4, "the two lanes have a neighbour each, so that what is kept is copied into them"


@pytest.mark.parametrize("bound", [True, False])
def test_rows_are_stored_where_they_are_asked_for(bundle: Bundle, reference: OnnxRuntimeEngine, bound: bool) -> None:
    """Rows of a step, kept or bound, to slots of a lane among others, in runs and out of order."""
    profile, config = Profile(1 if bound else 2, 12, 0, 2), bundle.config
    slots, rows, row = np.array([4, 5, 6, 0, 11]), np.array([2, 3, 4, 8, 0]), 0 if bound else 1
    lanes = {}
    device = HostDevice()
    for engine in (reference, on_host(bundle, None, device)):
        given = engine.inputs(engine.profile(profile))
        generator = np.random.default_rng(7)
        given.input_ids[:] = generator.integers(0, 200, given.input_ids.shape)
        given.position_ids[:] = np.arange(12)
        given.attention_mask[..., -12:] = True
        cache, bind = engine.allocate(3, 12, True, True), engine.allocate(2, 12, True, True)
        engine.run(engine.profile(profile), None, Lanes(bind, 1, 1) if bound else None, keep_rows=True)
        engine.store(Lanes(cache, 1, 1), slots, row, rows)
        lanes[engine.name] = cache
    on_device = lanes["device"]
    assert isinstance(on_device, DeviceCache)
    assert isinstance(lanes["onnxruntime"], HostCache)
    expected = lanes["onnxruntime"].tensors
    assert (expected != 0).any()
    device.synchronise()
    found = at(on_device.memory.address, on_device.nbytes).view(np.float32).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert config.layers > 1


def sees_itself(engine: DeviceEngine, profile: Profile) -> Profile:
    """The profile that is run, its inputs filled with tokens that see themselves alone."""
    profile = engine.profile(profile)
    rows = np.arange(profile.queries)
    engine.inputs(profile).attention_mask[:, :, rows, profile.capacity + rows] = True
    return profile


def test_what_steps_of_a_profile_own_is_made_once(bundle: Bundle) -> None:
    """The rows that no lane holds, and the cache that stands for an empty one: what was made for them stays right."""
    device = HostDevice()
    engine = on_host(bundle, None, device)
    assert isinstance(engine.executor, ProfiledExecutor)
    profile = sees_itself(engine, Profile(2, 8, 0, 2))
    cache = engine.allocate(2, 8, True, True)
    engine.run(profile, None, keep_rows=True)
    owned = engine.workspace(profile).rows, engine.workspace(profile).hidden
    held = len(device.memory)
    for bind in (None, Lanes(cache, 0, 2), None):
        engine.run(profile, None, bind, keep_rows=True)
    assert engine.executor.prepared["step"] == 2
    assert (engine.workspace(profile).rows, engine.workspace(profile).hidden) == owned
    assert len(device.memory) == held


def test_steps_that_write_into_a_cache_are_not_recorded(bundle: Bundle) -> None:
    device = HostDevice()
    engine = on_host(bundle, None, device)
    profile = sees_itself(engine, Profile(1, 8, 8, 2))
    read, bound = (engine.allocate(1, 8, True, True) for _ in range(2))
    for _ in range(2):
        engine.run(profile, Lanes(read, 0, 1), Lanes(bound, 0, 1))
    assert (device.recorded, device.downloads) == (0, 2)
    for _ in range(2):
        engine.run(profile, Lanes(read, 0, 1))
    assert (device.recorded, device.replayed, device.downloads) == (1, 1, 4)


def test_what_runs_the_step_is_shown(bundle: Bundle) -> None:
    engine = on_host(bundle, None)
    loaded = engine.loaded_step()
    assert (loaded.library, list(engine.versions)) == ("onnxruntime", ["onnxruntime"])
    assert "input_ids" in [value.name for value in loaded.handle.get_inputs()]
    assert engine.sizes.profiles is None
    assert engine_for(bundle, ["vanilla"]).sizes.profiles


def test_freed_caches_make_room(bundle: Bundle) -> None:
    """What a freed cache leaves is kept for the next of its size; where another size has no room, it goes back."""
    device = HostDevice()
    engine = on_host(bundle, None, device)
    cache = engine.allocate(1, 96, True, True)
    device.limit = device.memory.nbytes
    with pytest.raises(DllmEdgeError, match="out of memory"):
        engine.allocate(1, 48, True, True)
    del cache
    assert device.memory.nbytes == device.limit
    smaller = engine.allocate(1, 48, True, True)
    assert smaller.nbytes == device.memory.nbytes < device.limit


@pytest.mark.parametrize(
    ("system", "lengths", "changes", "message"),
    [
        (
            "fast-dllm-dual",
            [30],
            {},
            "this decode needs a cache of 46 slots; the engine was built for 24, 40: run 'dllm-edge build",
        ),
        ("fast-dllm-dual", [5, 6], {}, "2 sequences at once; the engine was built for 1 over 24 slots: run 'dllm-edge build"),
        (
            "vanilla",
            [30],
            {},
            "no profile of the engine holds a step of 1 x 46 tokens without a cache with 8 logit rows; it was built for",
        ),
        (
            "fast-dllm-dual",
            [5],
            {"block_length": 16},
            "tokens without a cache with 16 logit rows; it was built for",
        ),
        ("sparse-dllm", [5], {}, "this decode scores a cache of 24 slots; the engine was built for none: run 'dllm-edge build"),
    ],
)
def test_what_no_profile_serves(bundle: Bundle, system: str, lengths: list[int], changes: dict[str, Any], message: str) -> None:
    engine = engine_for(bundle, ["vanilla", "fast-dllm-dual"])
    asked = [
        replace(request, settings=request.settings.replace(**changes)) for request in requests(engine, system, "quota", lengths)
    ]
    with pytest.raises(DllmEdgeError) as error:
        finish(engine, asked)
    assert message in str(error.value)
    if len(lengths) == 1:
        executor = engine.executor
        assert isinstance(executor, ProfiledExecutor)
        executor.prepared.clear()
        with pytest.raises(DllmEdgeError) as rehearsed:
            check_served(engine, asked)
        assert message in str(rehearsed.value)
        assert not executor.prepared
