"""Devices by name with the figures that their makers publish, and devices that a user's own figures describe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ...graphs.errors import DllmEdgeError, unknown

DeviceKind = Literal["jetson", "gpu", "host"]

GB = 10**9
CPU = "cpu"
"""The name that means the computer that the plan is made on."""
GB_IN_BYTES = "GB (10^9 bytes)"
LARGEST_FIGURE = 10**6
"""Of GB, GB/s and TFLOPS that a user may write: more is a mistake of the unit."""


@dataclass(frozen=True)
class Device:
    """One device. A `jetson` shares its memory with the operating system and builds engines in it; a `gpu` is a card of
    its own; a `host` is a computer whose CPU runs the graphs.

    `memory` is in bytes, of the data sheet's decimal gigabytes: what the system reports is at least about that (an 8 GB
    Orin Nano: 7.99 GB; a 24 GB L4 with ECC: 24.1 GB). `bandwidth` is in bytes a second, `flops` dense float16 tensor
    operations a second with float32 accumulation; None where no figure is published, or published ones differ.
    """

    name: str
    kind: DeviceKind
    memory: int
    bandwidth: float | None
    compute_capability: str | None = None
    flops: float | None = None
    note: str = ""

    @property
    def orin(self) -> bool:
        """Whether it is a Jetson that JetPack 6 is made for; Thor came with JetPack 7."""
        return self.kind == "jetson" and self.compute_capability == "8.7"


def _jetson(name: str, memory: int, bandwidth: float, tflops: float | None, capability: str = "8.7", note: str = "") -> Device:
    return Device(name, "jetson", memory * GB, bandwidth * GB, capability, tflops and tflops * 1e12, note)


def _card(name: str, memory: int, bandwidth: float, tflops: float | None, capability: str) -> Device:
    return Device(name, "gpu", memory * GB, bandwidth * GB, capability, tflops and tflops * 1e12)


SUPER = "in Super mode (JetPack 6.2 and later, nvpmodel)"
# Memory and bandwidth: the vendor's data sheets. Orin's tensor rate: 2,048 operations a clock on each of its
# multiprocessors at the data sheet's highest clock; cards': the data sheets' dense figure.
DEVICES: dict[str, Device] = {
    device.name: device
    for device in (
        _jetson("orin-nano-4gb", 4, 34, 5.1, note=f"51 GB/s {SUPER}: --bandwidth 51"),
        _jetson("orin-nano-8gb", 8, 68, 10.2, note=f"102 GB/s {SUPER}: --bandwidth 102 --tflops 16.7"),
        _jetson("orin-nx-8gb", 8, 102.4, 12.5),
        _jetson("orin-nx-16gb", 16, 102.4, 15.0, note=f"faster clocks {SUPER}, the same bandwidth: --tflops 19.2"),
        _jetson("agx-orin-32gb", 32, 204.8, 26.7),
        _jetson("agx-orin-64gb", 64, 204.8, 42.6),
        _jetson("thor", 128, 273, None, capability="11.0"),
        _card("t4", 16, 320, 65, "7.5"),
        _card("l4", 24, 300, 121, "8.9"),
        _card("l40s", 48, 864, 362, "8.9"),
        _card("a10", 24, 600, 125, "8.6"),
        _card("a30", 24, 933, 165, "8.0"),
        _card("a40", 48, 696, 149.7, "8.6"),
        _card("a100-40gb", 40, 1555, 312, "8.0"),
        _card("a100-80gb", 80, 1935, 312, "8.0"),
        _card("h100", 80, 3350, 989, "9.0"),
        _card("h200", 141, 4800, 989, "9.0"),
        _card("rtx-3090", 24, 936, 71, "8.6"),
        _card("rtx-a6000", 48, 768, 154.8, "8.6"),
        _card("rtx-4090", 24, 1008, 165.2, "8.9"),
        _card("rtx-6000-ada", 48, 960, 364, "8.9"),
        _card("rtx-5090", 32, 1792, 209.5, "12.0"),
    )
}


def find_device(name: str) -> Device:
    """Return the device of this name; raises `DllmEdgeError` that lists the names where there is none."""
    if name not in DEVICES:
        raise unknown("device", name, (*DEVICES, CPU), advice=", or describe it with --memory and --bandwidth")
    return DEVICES[name]


def describe_device(
    name: str | None = None,
    *,
    memory_gb: float | None = None,
    bandwidth_gb: float | None = None,
    tflops: float | None = None,
    host: bool = False,
    found: Device | None = None,
) -> Device:
    """Return the named device with its own figures where none are passed, or one that the figures alone describe.

    `bandwidth_gb` is in GB/s; a device without a name is a card, or with `host` a computer; `found` is one that is known
    otherwise than by its name. Raises `DllmEdgeError` for figures
    that are out of range, and where neither a name nor the memory is passed.
    """
    if name is None and memory_gb is None:
        raise DllmEdgeError("name a --device ('dllm-edge plan --list-devices' shows them), or give --memory and --bandwidth")
    figures = (("--memory", memory_gb, GB_IN_BYTES), ("--bandwidth", bandwidth_gb, "GB/s"), ("--tflops", tflops, "TFLOPS"))
    for option, value, unit in figures:
        if value is not None:
            check_figure(option, value, unit)
    device = found or (Device("described", "host" if host else "gpu", 0, None) if name is None else find_device(name))
    return replace(
        device,
        memory=device.memory if memory_gb is None else int(memory_gb * GB),
        bandwidth=device.bandwidth if bandwidth_gb is None else bandwidth_gb * GB,
        flops=device.flops if tflops is None else tflops * 1e12,
        note=device.note if bandwidth_gb is None and tflops is None else "",
    )


def check_figure(option: str, value: float, unit: str, *, zero: bool = False) -> None:
    """Raise `DllmEdgeError` unless `value` is a number above 0, or with `zero` at least 0, and below `LARGEST_FIGURE`."""
    if not (0 < value < LARGEST_FIGURE or (zero and value == 0)):
        least = "at least 0" if zero else "above 0"
        raise DllmEdgeError(f"{option} {value:g}: must be {least} and below {LARGEST_FIGURE}, in {unit}")
