"""An engine against the CPU, layer by layer: rounding passes, another weight does not, and is found where it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from dllm_edge.export.parity.engines.layers import check_layers, compare, feed
from dllm_edge.export.parity.engines.runners import polygraphy, session_runner
from dllm_edge.export.parity.engines.subject import Subject
from dllm_edge.export.parity.examples import PROFILES
from dllm_edge.graphs.contract import Profile
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import WEIGHTS, Bundle
from dllm_edge.runtime.engines.onnxruntime.cpu import OnnxRuntimeEngine
from dllm_edge.runtime.engines.profiles import Workload

from ....runtime.device_engines import on_host
from ....runtime.numpy_engine import ENDLESS, NumpyEngine

FIXED = Workload((Profile(1, 24, 1, 8), Profile(1, 8, 24, 8), Profile(2, 8, 24, 8)))


@pytest.fixture
def bundle(tiny_bundle: Callable[..., Path]) -> Bundle:
    return Bundle.open(tiny_bundle("llada", "float16"))


def quiet(_share: float) -> None: ...


def with_changed(bundle: Bundle, folder: Path, name: str) -> Bundle:
    """A copy in which the values of one stored weight are another's; its hashes are not looked at."""
    path = shutil.copytree(bundle.path, folder)
    for file in (path / WEIGHTS).iterdir():
        with safe_open(file, "np") as tensors:
            if name not in tensors.keys():  # noqa: SIM118
                continue
            shape = tensors.get_slice(name).get_shape()
        header = int.from_bytes(file.read_bytes()[:8], "little")
        start = 8 + header + json.loads(file.read_bytes()[8 : 8 + header])[name]["data_offsets"][0]
        data = bytearray(file.read_bytes())
        values = np.frombuffer(data, np.float16, int(np.prod(shape)), start)
        values[:] = np.random.default_rng(1).permutation(values)
        file.write_bytes(data)
        return replace(bundle, path=path)
    raise AssertionError(name)


def test_float16_against_float32(bundle: Bundle) -> None:
    subject = Subject(bundle, OnnxRuntimeEngine(bundle, threads=1, compute_dtype="float16"))
    level = check_layers(bundle, subject, OnnxRuntimeEngine(bundle, threads=1), quiet)
    assert level.passed
    assert level.data["tolerance"] == 3e-2
    assert [found["profile"] for found in level.data["profiles"]] == [vars(profile) for profile in PROFILES]
    assert all(0 < found["difference"] < 3e-2 for found in level.data["profiles"])


def test_portable_against_fused(bundle: Bundle) -> None:
    subject = Subject(bundle, OnnxRuntimeEngine(bundle, threads=1, flavour="portable"))
    level = check_layers(bundle, subject, OnnxRuntimeEngine(bundle, threads=1, flavour="fused"), quiet)
    assert level.passed
    assert all(found["difference"] < 1e-4 for found in level.data["profiles"])


@pytest.mark.parametrize(
    ("weight", "first_bad"),
    [
        ("layers.1.key.weight", "new_key_values.1.key"),
        ("layers.2.value.weight", "new_key_values.2.value"),
        ("layers.0.down.weight", "new_key_values.1.key"),
        ("lm_head.weight", "topk_logits"),
    ],
)
def test_the_first_bad_layer_is_named(bundle: Bundle, tmp_path: Path, weight: str, first_bad: str) -> None:
    changed = with_changed(bundle, tmp_path / "changed", weight)
    subject = Subject(changed, OnnxRuntimeEngine(changed, threads=1, compute_dtype="float16"))
    level = check_layers(bundle, subject, OnnxRuntimeEngine(bundle, threads=1), quiet)
    assert not level.passed
    assert {found["first_bad"] for found in level.data["profiles"]} == {first_bad}
    assert f"first bad output {first_bad}" in level.lines[0]


def test_an_engine_of_fixed_profiles_runs_at_all_of_them(bundle: Bundle) -> None:
    subject = Subject(bundle, on_host(bundle, FIXED))
    level = check_layers(bundle, subject, OnnxRuntimeEngine(bundle, threads=1), quiet)
    assert level.passed
    assert [found["profile"] for found in level.data["profiles"]] == [vars(profile) for profile in FIXED.profiles]


def test_an_empty_cache_is_a_few_hidden_slots_on_a_device(bundle: Bundle) -> None:
    held = Subject(bundle, on_host(bundle, None)).profiles
    assert all(one.capacity >= max(1, wanted.capacity) for one, wanted in zip(held, PROFILES, strict=True))


def test_what_is_not_a_number_is_off(bundle: Bundle) -> None:
    engine = OnnxRuntimeEngine(bundle, threads=1)
    subject = Subject(bundle, engine)
    inputs = feed(bundle, subject, subject.profiles[1])
    inputs["past_key_values.1.value"][:] = np.inf
    with polygraphy() as comparator:
        runners = [session_runner(engine.session, bundle, "float32") for _ in range(2)]
        differences = compare(comparator, runners, inputs, 1e-4)
    assert differences["new_key_values.1.key"] == 0
    assert differences["logsumexp"] == np.inf


def test_an_engine_without_sessions_or_plans(bundle: Bundle) -> None:
    with pytest.raises(DllmEdgeError, match="has no sessions or plans to compare"):
        Subject(bundle, NumpyEngine(ENDLESS))
