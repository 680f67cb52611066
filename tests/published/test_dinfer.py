"""dInfer's decoders without a cache: threshold, hierarchical and credit; a text ends with its block there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .cases import Case, read_cases
from .comparison import Asked, Published, hold, hold_documented

SYSTEM = "dinfer"
BURSTS = "it decodes a block in bursts of forwards, of which those after its last token commit nothing: tokens are equal"
FIRST = "a credit goes to one of two ids that are equally probable but for 4e-7"
DEPARTURES = {**dict.fromkeys((28, 32, 43, 76), BURSTS), 17: FIRST}
# A threshold of None is none that anything exceeds.
NEVER = 1.01


def asked(case: Case) -> Asked:
    given = case.settings
    settings: dict[str, Any] = {name: given[name] for name in ("gen_length", "block_length")}
    settings |= {"threshold": NEVER if given["threshold"] is None else given["threshold"], **rule(given)}
    return Asked("vanilla", {**settings, "early_stop": given.get("early_stop", False), "stop_at": "block"}, given.get("eos_id"))


def rule(given: dict[str, Any]) -> dict[str, Any]:
    if "low_threshold" in given:
        return {"unmask": "hierarchical", "low_threshold": given["low_threshold"]}
    if "credit_alpha" in given:
        names = {"credit_weight": "credit_alpha", "credit_decay": "decay_beta", "credit_power": "boost_gamma"}
        return {"unmask": "credit", **{ours: given[theirs] for ours, theirs in names.items()}}
    return {"unmask": "threshold"}


@pytest.mark.parametrize("case", read_cases(SYSTEM), ids=str)
def test_released_code(case: Case, published: Callable[[str], Published]) -> None:
    end = published(case.checkpoint).decode(case, asked(case))
    hold(case, end, DEPARTURES)
    if DEPARTURES.get(case.number) == BURSTS:
        assert end.request.canvas.tokens.tolist() == case.ids
        assert end.forwards == sum(map(bool, case.changes)) - (case.number == 76)


def test_departures_are_documented() -> None:
    hold_documented(SYSTEM, DEPARTURES)
