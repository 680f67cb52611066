"""An engine against the CPU, layer by layer: rounding passes, another weight does not, and is found where it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from dllm_edge.export.parity.differences import relative_difference
from dllm_edge.export.parity.engine_pair import EnginePair
from dllm_edge.export.parity.examples import PROFILES
from dllm_edge.export.parity.layers import check_layers, random_inputs
from dllm_edge.export.parity.report import Level
from dllm_edge.export.parity.validate import validate
from dllm_edge.graphs.contract import Profile
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.graphs.joined_weights import stored_weights
from dllm_edge.graphs.parameters import parameter_shapes
from dllm_edge.runtime.bundle.bundle import WEIGHTS, Bundle
from dllm_edge.runtime.engines.base import Engine
from dllm_edge.runtime.engines.onnxruntime.cpu import OnnxRuntimeEngine
from dllm_edge.runtime.engines.profiles import Workload
from dllm_edge.runtime.generate import Model

from ...runtime.device_engines import on_host
from ...runtime.numpy_engine import ENDLESS, NumpyEngine

FIXED = Workload((Profile(1, 24, 1, 8), Profile(1, 8, 24, 8), Profile(2, 8, 24, 8)))


@pytest.fixture
def bundle(tiny_bundle: Callable[..., Path]) -> Bundle:
    return Bundle.open(tiny_bundle("llada", "float16"))


def layers_of(engine: Engine, bundle: Bundle) -> Level:
    return check_layers(EnginePair(Model(bundle, engine), threads=1), lambda _share: None)


def with_changed(bundle: Bundle, folder: Path, name: str) -> Bundle:
    """A copy in which the values of one stored weight are another's; its hashes are not looked at."""
    path = shutil.copytree(bundle.path, folder)
    weights = stored_weights(parameter_shapes(bundle.config), bundle.manifest.joined)
    stored, members = next((stored, members) for stored, members in weights.items() if name in members)
    before = sum(prod(shape) for shape in list(members.values())[: list(members).index(name)])
    for file in (path / WEIGHTS).iterdir():
        with safe_open(file, "np") as tensors:
            if stored not in tensors.keys():  # noqa: SIM118
                continue
        header = int.from_bytes(file.read_bytes()[:8], "little")
        start = 8 + header + json.loads(file.read_bytes()[8 : 8 + header])[stored]["data_offsets"][0]
        data = bytearray(file.read_bytes())
        values = np.frombuffer(data, np.float16, prod(members[name]), start + 2 * before)
        values[:] = np.random.default_rng(1).permutation(values)
        file.write_bytes(data)
        return replace(bundle, path=path)
    raise AssertionError(name)


def test_float16_against_float32(bundle: Bundle) -> None:
    level = layers_of(OnnxRuntimeEngine(bundle, threads=1, compute_dtype="float16"), bundle)
    assert level.passed
    assert level.data["tolerance"] == 3e-2
    assert [record["profile"] for record in level.data["profiles"]] == [vars(profile) for profile in PROFILES]
    assert all(0 < record["difference"] < 3e-2 for record in level.data["profiles"])


def test_portable_against_fused(bundle: Bundle) -> None:
    pair = EnginePair(Model(bundle, OnnxRuntimeEngine(bundle, threads=1, flavour="portable")))
    pair.reference = Model(bundle, OnnxRuntimeEngine(bundle, threads=1, flavour="fused"))
    level = check_layers(pair, lambda _share: None)
    assert level.passed
    assert all(record["difference"] < 1e-4 for record in level.data["profiles"])


@pytest.mark.parametrize(
    ("weight", "first_bad"),
    [
        ("layers.1.key.weight", "new_key_values.1.key"),
        ("layers.2.value.weight", "new_key_values.2.value"),
        ("layers.0.down.weight", "new_key_values.1.key"),
        ("lm_head.weight", "topk_log_probs"),
    ],
)
def test_the_first_bad_layer_is_named(bundle: Bundle, tmp_path: Path, weight: str, first_bad: str) -> None:
    changed = with_changed(bundle, tmp_path / "changed", weight)
    level = layers_of(OnnxRuntimeEngine(changed, threads=1, compute_dtype="float16"), bundle)
    assert not level.passed
    assert {record["first_bad"] for record in level.data["profiles"]} == {first_bad}
    assert f"first bad output {first_bad}" in level.lines[0]


def test_an_engine_of_fixed_profiles_runs_at_all_of_them(bundle: Bundle) -> None:
    level = layers_of(on_host(bundle, FIXED, flavours=("portable",)), bundle)
    assert level.passed
    assert [record["profile"] for record in level.data["profiles"]] == [vars(profile) for profile in FIXED.profiles]
    # It rounds otherwise than the reference, which runs the fused graph: the two are not one session.
    assert all(0 < record["difference"] < 1e-4 for record in level.data["profiles"])


def test_an_engine_of_fixed_profiles_over_other_weights_is_off_at_all_of_them(bundle: Bundle, tmp_path: Path) -> None:
    changed = with_changed(bundle, tmp_path / "changed", "layers.1.value.weight")
    level = layers_of(on_host(changed, FIXED), bundle)
    assert not level.passed
    assert [record["first_bad"] for record in level.data["profiles"]] == ["new_key_values.1.value"] * len(FIXED.profiles)


def test_an_empty_cache_is_a_few_hidden_slots_on_a_device(bundle: Bundle) -> None:
    pair = EnginePair(Model(bundle, on_host(bundle, None)))
    held = [profile for comparison in pair.comparisons() for profile in comparison.profiles]
    assert all(one.capacity >= max(1, wanted.capacity) for one, wanted in zip(held, PROFILES, strict=True))


def test_what_is_not_a_number_is_off(bundle: Bundle) -> None:
    pair = EnginePair(Model(bundle, OnnxRuntimeEngine(bundle, threads=1)), threads=1)
    comparison = pair.comparisons()[1]
    inputs = random_inputs(bundle.config, comparison.profiles[0], "float32", np.random.default_rng(0))
    inputs["past_key_values.1.value"][:] = np.inf
    wanted, actual = pair.run_reference(inputs), comparison.open_runner()(inputs)
    assert relative_difference(actual["new_key_values.1.key"], wanted["new_key_values.1.key"]) == 0
    assert relative_difference(actual["entropy"], wanted["entropy"]) == np.inf


def test_an_engine_without_sessions_or_plans(tiny_bundle: Callable[..., Path]) -> None:
    bundle = Bundle.open(tiny_bundle("llada"))
    with pytest.raises(DllmEdgeError, match="has no sessions or plans to compare"):
        validate(EnginePair(Model(bundle, NumpyEngine(ENDLESS))))
