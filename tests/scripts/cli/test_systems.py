from __future__ import annotations

import pytest

from dllm_edge.runtime.decoding.settings import DECLARED
from dllm_edge.runtime.systems import SYSTEMS, all_systems
from dllm_edge.runtime.systems.composition import refusal
from dllm_edge.runtime.unmasking import RULES

from ..conftest import Command, parsed


def test_systems_lists_every_setting(command: Command) -> None:
    found = {system["name"]: system for system in parsed(command("systems", "--json")[1])["systems"]}
    assert set(found) == set(all_systems())
    assert set(found["vanilla"]["settings"]) == set(SYSTEMS["vanilla"].setting_names)
    threshold = found["fast-dllm-dual"]["settings"]["unmask"]
    assert threshold["default"] == "threshold"
    assert "quota" in threshold["choices"]
    assert all(setting["meaning"] for system in found.values() for setting in system["settings"].values())
    out = command("systems")[1]
    assert all(name in out for name in (*SYSTEMS, *DECLARED))


def test_systems_says_what_composes_and_why_not(command: Command) -> None:
    for system in parsed(command("systems", "--json")[1])["systems"]:
        known = all_systems()[system["name"]]
        assert system["rules"] == {rule: refusal(known, rule) for rule in RULES}
        assert (system["attention"], system["claim"]) == (list(known.attention), known.claim)


def test_the_table_says_so_too(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    out = command("systems")[1]
    assert out.count("every rule") == sum(system.rules is None for system in all_systems().values())
    assert "steps: 1, 2, 4, 8 tokens a step" in out
    others = ", ".join(rule for rule in RULES if rule != "saber")
    assert f"not {others}: saber does not decode by unmask=...: use unmask=saber" in out
    assert "threshold: 0.95, 0.9, 0.8, 0.6" in out
    assert all(system.claim in out for system in all_systems().values())
    assert "bidirectional or block-causal attention" in out
