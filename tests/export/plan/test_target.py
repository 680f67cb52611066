from __future__ import annotations

import platform
from dataclasses import replace

import pytest

from dllm_edge.export.plan.devices import CPU, GB, Device, find_device
from dllm_edge.export.plan.target import HEADROOM, target_of
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.engines.support import rows_of

HOST = Device("described", "host", 64 * GB, None)
CARD, ORIN, THOR = find_device("l4"), find_device("agx-orin-32gb"), find_device("thor")


def test_what_a_plan_may_fill() -> None:
    assert target_of(CARD).limit_bytes == int(HEADROOM * 24 * GB)
    assert target_of(ORIN).limit_bytes == int(HEADROOM * (32 - 0.9) * GB)
    assert target_of(ORIN, desktop=True).limit_bytes == int(HEADROOM * 30 * GB)


def test_what_a_build_may_fill() -> None:
    assert target_of(CARD, swap_gb=8).build_limit_bytes is None
    orin = target_of(ORIN, swap_gb=8)
    assert orin.build_limit_bytes == orin.limit_bytes + 8 * GB


@pytest.mark.parametrize("swap", [-1, float("inf"), float("nan")])
def test_swap_that_is_no_size(swap: float) -> None:
    with pytest.raises(DllmEdgeError, match=f"--swap {swap}: must be at least 0 and below 1000000, in GB"):
        target_of(ORIN, swap_gb=swap)


def test_the_flavour_follows_the_device() -> None:
    assert [target_of(device).flavour for device in (ORIN, CARD, THOR)] == ["portable", "fused", "fused"]
    with pytest.raises(DllmEdgeError, match="unknown flavour 'mild': choose one of fused, portable"):
        target_of(CARD, flavour="mild")
    with pytest.raises(DllmEdgeError, match="unknown engine 'abacus': choose one of tensorrt, onnxruntime"):
        target_of(CARD, engine="abacus")


@pytest.mark.parametrize(("machine", "name"), [("aarch64", "onnxruntime-aarch64"), ("x86_64", "onnxruntime-x86_64")])
def test_this_machines_processor_is_its_own(machine: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    here = replace(HOST, name=CPU)
    assert target_of(here, engine="onnxruntime").row is rows_of(name)[0]
    assert target_of(HOST, engine="onnxruntime").row is rows_of("onnxruntime-x86_64")[0]
    assert target_of(ORIN, engine="onnxruntime").row is rows_of("onnxruntime-aarch64")[0]


def test_onnx_runtime_computes_on_a_cpu_but_beside_a_card() -> None:
    targets = [target_of(device, engine="onnxruntime") for device in (CARD, ORIN, HOST)]
    assert [target.cpu for target in targets] == [False, True, True]
    assert [target.compute_dtype("bfloat16") for target in targets] == ["bfloat16", "float32", "float32"]
    assert not target_of(ORIN).cpu
