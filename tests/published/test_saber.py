"""Saber on LLaDA, in one block and in several, and its other form for Dream."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .cases import Case, read_cases
from .comparison import Asked, Published, hold, hold_documented

LLADA, DREAM = "saber_llada", "saber_dream"
DEPARTURES: dict[str, dict[int, str]] = {LLADA: {}, DREAM: {}}


def asked(case: Case) -> Asked:
    same = {"reference_compat": True, "early_stop": False}
    if case.function == "diffusion_generate":
        return Asked("saber", {**same, "gen_length": case.settings["max_new_tokens"], "backtrack": "probability"})
    lengths = {name: case.settings[name] for name in ("gen_length", "block_length")}
    return Asked("saber", {**same, **lengths, "least_commits": case.settings["n"]})


@pytest.mark.parametrize("case", [*read_cases(LLADA), *read_cases(DREAM)], ids=str)
def test_released_code(case: Case, published: Callable[[str], Published]) -> None:
    hold(case, published(case.checkpoint).decode(case, asked(case)), DEPARTURES[case.system])


@pytest.mark.parametrize("system", [LLADA, DREAM])
def test_departures_are_documented(system: str) -> None:
    hold_documented(system, DEPARTURES[system])
