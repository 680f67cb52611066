"""What is decoded comes from the registries and from rehearsals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dllm_edge.export.parity.decodes import cheapest_system, served_uses, whole_decodes
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.generate import Model
from dllm_edge.runtime.scheduler.rehearsal import derive_workload
from dllm_edge.runtime.systems import SYSTEMS, fitting_systems
from dllm_edge.runtime.unmasking.rule import RULES

from ...runtime.device_engines import on_host
from ...runtime.numpy_engine import ENDLESS, NumpyEngine

TinyBundle = Callable[..., Path]


def model_of(path: Path) -> Model:
    return Model(Bundle.open(path), NumpyEngine(ENDLESS))


def test_every_fitting_system_and_every_rule_is_decoded(tiny_bundle: TinyBundle) -> None:
    decodes = whole_decodes(model_of(tiny_bundle("llada")))
    assert [(system.name, rule) for system, rule in decodes] == [
        ("vanilla", "quota"),
        ("fast-dllm-prefix", "threshold"),
        ("fast-dllm-dual", "threshold"),
        ("dkv-cache", "quota"),
        ("free-cache", "quota"),
        ("wino", "wino"),
        ("sparse-dllm", "quota"),
        ("conv", "conv"),
        ("saber", "saber"),
        ("ssd", "quota"),
        ("vicinity", "threshold"),
        ("klass", "klass"),
        ("lopa", "threshold"),
        ("d3llm", "entropy-threshold"),
        ("streaming-dllm", "dynamic-threshold"),
        ("fast-dllm-dual", "credit"),
        ("fast-dllm-dual", "entropy-bound"),
        ("fast-dllm-dual", "factor"),
        ("fast-dllm-dual", "frechet"),
        ("fast-dllm-dual", "hierarchical"),
        ("fast-dllm-dual", "local-leap"),
        ("fast-dllm-dual", "schedule"),
        ("fast-dllm-dual", "token-editing"),
    ]


def test_a_block_causal_model_has_its_systems_by_every_rule(tiny_bundle: TinyBundle) -> None:
    model = model_of(tiny_bundle("sdar"))
    decodes = whole_decodes(model)
    assert {system for system, _ in decodes} == set(fitting_systems(model.config)) == {SYSTEMS["vanilla"]}
    assert sorted(rule for _, rule in decodes) == sorted(RULES)


def test_a_rule_goes_to_a_system_that_takes_it(tiny_bundle: TinyBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(tiny_bundle("llada"))
    assert cheapest_system(model) is SYSTEMS["fast-dllm-dual"]
    for name in ("fast-dllm-dual", "fast-dllm-prefix", "dkv-cache", "free-cache", "vicinity"):
        monkeypatch.setitem(SYSTEMS, name, replace(SYSTEMS[name], rules=("threshold",)))
    assert cheapest_system(model, "factor") is SYSTEMS["sparse-dllm"]
    assert cheapest_system(model, "threshold") is SYSTEMS["fast-dllm-dual"]


@pytest.mark.parametrize("longest", range(3))
def test_a_decode_is_served_where_all_of_its_prompts_are(tiny_bundle: TinyBundle, longest: int) -> None:
    bundle = Bundle.open(tiny_bundle("llada"))
    vanilla, settings = SYSTEMS["vanilla"], model_of(bundle.path).settings("vanilla", gen_length=32)
    model = Model(bundle, on_host(bundle, derive_workload(bundle.config, [(vanilla, settings)], [48])))
    prompts = [[5] * 4 for _ in range(3)]
    served, _ = served_uses(model, prompts)
    assert vanilla in [system for system, _ in served]
    prompts[longest] = [5] * 60
    assert served_uses(model, prompts)[0] == []
