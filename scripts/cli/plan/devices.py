"""`dllm-edge plan --list-devices`: what is known of each device."""

from __future__ import annotations

from rich import box
from rich.table import Table

from ....export.plan.devices import CPU, DEVICES, GB
from ..terminal.output import print_json, screen, size


def show_devices(as_json: bool) -> None:
    """Print the known devices with their figures, and notes on some."""
    if as_json:
        print_json({"devices": [vars(device) for device in DEVICES.values()]})
        return
    table = Table(title="devices", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("name", no_wrap=True)
    for column in ("memory", "bandwidth", "compute\ncapability", "float16\nrate"):
        table.add_column(column)
    for device in DEVICES.values():
        bandwidth = "" if device.bandwidth is None else f"{device.bandwidth / GB:g} GB/s"
        rate = "" if device.flops is None else f"{device.flops / 1e12:g} TFLOPS"
        table.add_row(device.name, size(device.memory), bandwidth, device.compute_capability or "", rate)
    screen().print(table)
    screen().print(f"{CPU}: this machine; its memory is read and its bandwidth measured", highlight=False, soft_wrap=True)
    for device in (device for device in DEVICES.values() if device.note):
        screen().print(f"{device.name}: {device.note}", highlight=False, soft_wrap=True)
