"""What composes with what: every allowed pair of a system and a rule decodes to the end, every other is one line."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.generate import Model
from dllm_edge.runtime.systems import SYSTEMS
from dllm_edge.runtime.systems.composition import refusal
from dllm_edge.runtime.unmasking import RULES

from ..numpy_engine import ENDLESS, MASK, NumpyEngine
from ..recorder import Recorder

PAIRS = list(product(SYSTEMS, RULES))
CONFIGS = {"bidirectional": ENDLESS, "block-causal": replace(ENDLESS, attention="block-causal", attention_block=8)}


def model_of(model: Model, attention: str) -> Model:
    manifest = replace(model.bundle.manifest, config=CONFIGS[attention])
    return Model(replace(model.bundle, manifest=manifest), Recorder(NumpyEngine(CONFIGS[attention])))


@pytest.mark.parametrize("attention", CONFIGS)
@pytest.mark.parametrize(("system", "rule"), PAIRS)
def test_what_is_allowed_ends_and_what_is_not_is_told_before_any_step(
    system: str, rule: str, attention: str, model: Model
) -> None:
    chosen = model_of(model, attention)
    assert isinstance(chosen.engine, Recorder)
    refused = refusal(SYSTEMS[system], rule)
    if attention not in SYSTEMS[system].attention:
        refused = refused or f"{system} is not for models with {attention} attention"
    if refused is None:
        result = chosen.generate([7, 2, 9], system=system, unmask=rule)
        assert result.finish_reason in ("complete", "stop")
        assert MASK not in result.token_ids
        return
    with pytest.raises(DllmEdgeError) as error:
        chosen.generate([7, 2, 9], system=system, unmask=rule)
    assert "\n" not in str(error.value)
    assert system in str(error.value) or f"unmask={rule}" in str(error.value)
    assert chosen.engine.launches == []


def test_saber_decodes_by_its_own_rule_alone() -> None:
    refused = {rule: refusal(SYSTEMS["saber"], rule) for rule in RULES}
    assert refused.pop("saber") is None
    assert refused["quota"] == "saber does not decode by unmask=quota: use unmask=saber"
    assert None not in refused.values()


@pytest.mark.parametrize(
    ("changes", "rule", "reason"),
    [
        (
            {"rules": ("quota", "factor")},
            "threshold",
            "not decode by unmask=threshold: use unmask=quota or factor",
        ),
        ({"defaults": {"confidence": "entropy"}}, "threshold", "unmask=threshold compares probabilities"),
        ({"defaults": {"confidence": "entropy"}}, "quota", None),
        ({"rules": ("quota", "factor")}, "factor", None),
    ],
)
def test_it_follows_from_what_system_and_rule_say(changes: dict[str, Any], rule: str, reason: str | None) -> None:
    found = refusal(replace(SYSTEMS["vanilla"], **changes), rule)
    assert (found is None) == (reason is None)
    assert reason is None or reason in str(found)
