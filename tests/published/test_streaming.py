"""Streaming-dLLM on LLaDA and on Dream, whose code names the same things differently; a text ends with its block there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .cases import Case, read_cases
from .comparison import Asked, Published, hold, hold_documented

MASKS_LEFT = "with `alg=entropy` and as many `steps` as blocks its loop ends at once and leaves masks"
DEPARTURES: dict[str, dict[int, str]] = {"streaming_llada": {}, "streaming_dream": dict.fromkeys((16, 33, 50), MASKS_LEFT)}


def asked(case: Case) -> Asked:
    given = case.settings
    settings: dict[str, Any] = {
        "gen_length": given.get("gen_length", given.get("max_new_tokens")),
        "block_length": given["block_length"],
        "window": given["window_size"],
        "stop_at": "block",
        **rule(given),
    }
    return Asked("streaming-dllm", settings, given.get("eos_id", given.get("eos")))


def rule(given: dict[str, Any]) -> dict[str, Any]:
    """Return the rule: Dream's by `alg`, LLaDA's by what is not None."""
    if given.get("alg") == "entropy":
        return {"unmask": "schedule", "confidence": "entropy", "steps": given["steps"]}
    if given.get("factor"):
        return {"unmask": "factor", "factor": given["factor"], "reference_compat": True}
    if given["threshold"] is None:
        return {"unmask": "quota", "steps": given["steps"]}
    return {name: given[name] for name in ("threshold", "confidence_alpha")}


@pytest.mark.parametrize("case", [case for system in DEPARTURES for case in read_cases(system)], ids=str)
def test_released_code(case: Case, published: Callable[[str], Published]) -> None:
    hold(case, published(case.checkpoint).decode(case, asked(case)), DEPARTURES[case.system])


@pytest.mark.parametrize("system", DEPARTURES)
def test_departures_are_documented(system: str) -> None:
    hold_documented(system, DEPARTURES[system])
