from __future__ import annotations

from typing import Any

import pytest

from dllm_edge.export.plan.devices import DEVICES, GB, describe_device, find_device
from dllm_edge.graphs.errors import DllmEdgeError

NAMED = {
    *("orin-nano-4gb", "orin-nano-8gb", "orin-nx-8gb", "orin-nx-16gb", "agx-orin-32gb", "agx-orin-64gb", "thor"),
    *("t4", "l4", "l40s", "a10", "a100-40gb", "a100-80gb", "h100", "h200", "rtx-3090", "rtx-4090", "rtx-5090"),
}


def test_the_devices_that_users_name_are_there() -> None:
    assert set(DEVICES) >= NAMED


@pytest.mark.parametrize(
    ("name", "bits", "rate"),
    [
        ("orin-nano-4gb", 64, 4266),
        ("orin-nano-8gb", 128, 4266),
        ("orin-nx-8gb", 128, 6400),
        ("orin-nx-16gb", 128, 6400),
        ("agx-orin-32gb", 256, 6400),
        ("agx-orin-64gb", 256, 6400),
        ("thor", 256, 8533),
    ],
)
def test_a_jetsons_bandwidth_is_its_buss_width_times_its_memorys_rate(name: str, bits: int, rate: int) -> None:
    """LPDDR5 and LPDDR5X: millions of transfers a second."""
    assert DEVICES[name].bandwidth == pytest.approx(bits / 8 * rate * 1e6, rel=0.005)


@pytest.mark.parametrize("name", DEVICES)
def test_figures_are_of_the_right_size(name: str) -> None:
    device = DEVICES[name]
    assert 4 * GB <= device.memory <= 200 * GB
    assert device.bandwidth is not None
    assert 30 * GB <= device.bandwidth <= 10_000 * GB
    assert device.flops is None or 5e12 <= device.flops <= 3e15
    assert device.compute_capability is not None
    if name.endswith("gb"):
        assert device.memory == int(name.rpartition("-")[2].removesuffix("gb")) * GB


def test_a_users_figures_go_before_published_ones() -> None:
    super_mode = describe_device("orin-nano-8gb", bandwidth_gb=102, tflops=16.7)
    assert (super_mode.memory, super_mode.bandwidth, super_mode.flops) == (8 * GB, 102e9, 16.7e12)
    assert super_mode.note == ""
    other = describe_device(memory_gb=12)
    assert (other.kind, other.memory, other.bandwidth) == ("gpu", 12 * GB, None)
    assert describe_device(memory_gb=12, bandwidth_gb=50, host=True).kind == "host"


def test_an_orin_is_a_jetson_and_thor_is_none() -> None:
    orins = {name for name, device in DEVICES.items() if device.orin}
    assert orins == {name for name in DEVICES if "orin" in name}


def test_an_unknown_device_lists_the_known() -> None:
    with pytest.raises(DllmEdgeError, match=r"unknown device 'moon': choose one of orin-nano-4gb, .*--memory and --bandwidth"):
        find_device("moon")


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({}, "name a --device"),
        ({"bandwidth_gb": 100.0}, "name a --device"),
        ({"memory_gb": 0.0}, "--memory 0: must be above 0 and below 1000000, in GB"),
        ({"memory_gb": float("nan")}, "--memory nan: must be above 0 and below 1000000, in GB"),
        ({"memory_gb": float("inf")}, "--memory inf: must be above 0 and below 1000000, in GB"),
        ({"name": "l4", "bandwidth_gb": -3.0}, "--bandwidth -3: must be above 0 and below 1000000, in GB/s"),
        ({"name": "l4", "tflops": 0.0}, "--tflops 0: must be above 0 and below 1000000, in TFLOPS"),
    ],
)
def test_figures_that_make_no_device(figures: dict[str, Any], message: str) -> None:
    with pytest.raises(DllmEdgeError, match=message):
        describe_device(**figures)
