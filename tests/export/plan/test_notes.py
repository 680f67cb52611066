from __future__ import annotations

from dataclasses import replace

import pytest

from dllm_edge.export.plan.decode import Decode
from dllm_edge.export.plan.devices import GB, find_device
from dllm_edge.export.plan.estimate import PROFILE_BYTES, estimate
from dllm_edge.export.plan.plan import make_plan
from dllm_edge.export.plan.target import target_of
from dllm_edge.graphs.errors import DllmEdgeError

from .models import llada_8b, planned_model, quantised, scenario

DUAL = Decode("fast-dllm-dual", 1024)


def test_float16_of_a_model_from_qwen() -> None:
    dream = replace(llada_8b(), family="dream")
    (note,) = make_plan(planned_model(dream, "float16"), target_of(find_device("l4")), []).notes
    assert "activations can leave float16's range: bfloat16 is the safe choice" in note
    assert make_plan(planned_model(dream), target_of(find_device("l4")), []).notes == []
    assert make_plan(planned_model(dtype="float16"), target_of(find_device("l4")), []).notes == []


@pytest.mark.parametrize(
    ("device", "flavour", "model", "known"),
    [
        ("agx-orin-32gb", None, quantised("int4"), "unknown"),
        ("agx-orin-32gb", "fused", quantised("int4"), "expected"),
        ("agx-orin-32gb", "fused", quantised("int8"), "unknown"),
        ("agx-orin-32gb", "fused", quantised("int4", group=32), "unknown"),
        ("l4", "portable", quantised("int4"), "expected"),
    ],
)
def test_what_is_not_known_is_said(device: str, flavour: str | None, model: object, known: str) -> None:
    plan = make_plan(model, target_of(find_device(device), flavour=flavour), [])  # type: ignore[arg-type]
    assert plan.known == known
    assert bool(plan.notes) == (known == "unknown")
    assert (plan.to_json()["known"], plan.to_json()["notes"]) == (known, plan.notes)


def test_what_the_engine_does_not_take_is_refused() -> None:
    with pytest.raises(DllmEdgeError, match=r"int8 in groups of 128: not taken by TensorRT 10\.3"):
        make_plan(quantised("int8"), target_of(find_device("agx-orin-32gb")), [])
    with pytest.raises(DllmEdgeError, match=r"bfloat16 on compute capability 7\.5: not taken .* use --dtype float16"):
        make_plan(planned_model(), target_of(find_device("t4")), [])
    make_plan(quantised("int8"), target_of(find_device("agx-orin-32gb"), engine="onnxruntime"), [])


@pytest.mark.parametrize(("offered", "used"), [(0, 0), (16, 16), (40, None)])
def test_swap_that_a_build_uses(offered: int, used: int | None) -> None:
    figures = estimate(scenario("agx-orin-32gb", DUAL, swap_bytes=offered * GB))
    beyond = figures.build_bytes - figures.scenario.target.limit_bytes
    assert 16 * GB < beyond < 40 * GB
    assert figures.swap_bytes == (beyond if used is None else used * GB)
    assert estimate(scenario("l4", DUAL, swap_bytes=40 * GB)).swap_bytes == 0


def test_the_profiles_share_of_the_weights() -> None:
    figures = estimate(scenario("l4", DUAL))
    assert figures.profile_bytes == 2 * PROFILE_BYTES == figures.weight_bytes - figures.stored_weight_bytes
    assert estimate(replace(scenario("l4", DUAL), target=target_of(find_device("l4"), engine="onnxruntime"))).profile_bytes == 0
