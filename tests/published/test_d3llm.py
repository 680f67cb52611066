"""d3LLM's multi-block decoding on LLaDA, without a cache and with its delayed one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .cases import Case, read_cases
from .comparison import Asked, Published, hold, hold_documented

SYSTEM = "d3llm"
WAITING = "where several blocks wait, its cache keeps more than it has recorded"
DEPARTURES = {
    **dict.fromkeys((14, 44), WAITING),
    **dict.fromkeys((75, 76, 77, 78, 80), "after an end of text a forward decides over masks that it has just filled"),
}
NEVER = 10_000


def asked(case: Case) -> Asked:
    given = case.settings
    settings = {
        "gen_length": given["max_new_tokens"],
        "block_length": given["block_size"],
        "entropy_threshold": given["threshold"],
        "block_add_threshold": given["block_add_threshold"],
        "cache_delay": given.get("cache_delay_iter", NEVER),
        "refresh": given.get("refresh_interval", NEVER),
        "early_stop": given["early_stop"],
    }
    return Asked("d3llm", settings, given["eos_token_id"])


@pytest.mark.parametrize("case", read_cases(SYSTEM), ids=str)
def test_released_code(case: Case, published: Callable[[str], Published]) -> None:
    hold(case, published(case.checkpoint).decode(case, asked(case)), DEPARTURES)


def test_departures_are_documented() -> None:
    hold_documented(SYSTEM, DEPARTURES)
