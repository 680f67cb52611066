from __future__ import annotations

from dllm_edge.runtime.decoding.settings import DECLARED
from dllm_edge.runtime.systems import SYSTEMS

from ..conftest import Command, parsed


def test_systems_lists_every_setting(command: Command) -> None:
    found = {system["name"]: system for system in parsed(command("systems", "--json")[1])["systems"]}
    assert set(found) == set(SYSTEMS)
    assert set(found["vanilla"]["settings"]) == set(SYSTEMS["vanilla"].setting_names)
    threshold = found["fast-dllm-dual"]["settings"]["unmask"]
    assert threshold["default"] == "threshold"
    assert "quota" in threshold["choices"]
    assert all(setting["meaning"] for system in found.values() for setting in system["settings"].values())
    out = command("systems")[1]
    assert all(name in out for name in (*SYSTEMS, *DECLARED))
