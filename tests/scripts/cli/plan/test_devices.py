from __future__ import annotations

from dllm_edge.export.plan.devices import DEVICES

from ...conftest import Command, parsed


def test_devices_are_listed(command: Command) -> None:
    code, out, _ = command("plan", "--list-devices", "--json")
    assert code == 0
    assert [device["name"] for device in parsed(out)["devices"]] == list(DEVICES)
    out = command("plan", "--list-devices")[1]
    assert all(name in out for name in ("orin-nx-16gb", "h200"))
