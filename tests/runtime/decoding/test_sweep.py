from __future__ import annotations

from dataclasses import replace

import pytest

from dllm_edge.runtime.decoding.settings import DECLARED, Settings
from dllm_edge.runtime.decoding.sweep import Sweep, steps_for
from dllm_edge.runtime.systems import SYSTEMS
from dllm_edge.runtime.systems.composition import sweep_of
from dllm_edge.runtime.unmasking import RULES

from ..numpy_engine import ENDLESS, NumpyEngine
from ..recorder import finish
from ..scripted import request


@pytest.mark.parametrize(
    ("gen_length", "block_length", "tokens", "steps"),
    [(64, 32, 1, 0), (64, 32, 2, 32), (64, 32, 8, 8), (64, 32, 64, 2), (40, 32, 4, 16), (16, 32, 2, 8), (64, 0, 4, 16)],
)
def test_steps_for_so_many_tokens_a_step(gen_length: int, block_length: int, tokens: int, steps: int) -> None:
    assert steps_for(tokens, Settings(gen_length=gen_length, block_length=block_length)) == steps


@pytest.mark.parametrize("tokens", [1, 2, 4, 8])
def test_a_quota_takes_as_many_a_step(tokens: int) -> None:
    asked = request("vanilla", early_stop=False)
    asked.settings = asked.settings.replace(steps=steps_for(tokens, asked.settings))
    assert finish(NumpyEngine(ENDLESS), [asked])[0].forwards == 16 // tokens


PUBLISHED = ("dynamic-threshold", "factor", "frechet", "quota", "saber", "schedule", "threshold")
OF_RULES = {f"rule {name}": (rule.sweep, [one.name for one in rule.settings]) for name, rule in RULES.items() if rule.sweep}
OF_SYSTEMS = {f"system {name}": (one.sweep, list(one.setting_names)) for name, one in SYSTEMS.items() if one.sweep}
SWEEPS: dict[str, tuple[Sweep, list[str]]] = {**OF_RULES, **OF_SYSTEMS}


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_varies_what_its_owner_reads(name: str) -> None:
    sweep, settings = SWEEPS[name]
    assert sweep.setting.name in settings
    assert DECLARED[sweep.setting.name] is sweep.setting
    assert 2 <= len(set(sweep.values)) == len(sweep.values) <= 6
    for changes in sweep.changes(Settings()):
        assert list(changes) == [sweep.setting.name]
        Settings(**changes)


@pytest.mark.parametrize("rule", PUBLISHED)
def test_the_further_the_bolder(rule: str) -> None:
    """On random weights, which are sure of little: never more forwards than by a value before."""
    asked = request("saber" if rule == "saber" else "vanilla", unmask=rule, block_length=16, early_stop=False)
    sweep = sweep_of(asked.system, asked.settings)
    assert sweep is not None
    forwards = []
    for changes in sweep.changes(asked.settings):
        one = request(asked.system, unmask=rule, block_length=16, early_stop=False, **changes)
        forwards.append(finish(NumpyEngine(ENDLESS), [one])[0].forwards)
    assert forwards == sorted(forwards, reverse=True)


def test_a_systems_own_way_goes_before_its_rules() -> None:
    vanilla, own = SYSTEMS["vanilla"], RULES["factor"].sweep
    assert sweep_of(vanilla, Settings(unmask="threshold")) is RULES["threshold"].sweep
    assert sweep_of(replace(vanilla, sweep=own), Settings(unmask="threshold")) is own
