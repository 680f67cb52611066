"""WINO on LLaDA."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .cases import Case, read_cases
from .comparison import Asked, Published, hold, hold_documented

SYSTEM = "wino"
DEPARTURES: dict[int, str] = {}


def asked(case: Case) -> Asked:
    return Asked("wino", {**case.settings, "early_stop": False})


@pytest.mark.parametrize("case", read_cases(SYSTEM), ids=str)
def test_released_code(case: Case, published: Callable[[str], Published]) -> None:
    hold(case, published(case.checkpoint).decode(case, asked(case)), DEPARTURES)


def test_departures_are_documented() -> None:
    hold_documented(SYSTEM, DEPARTURES)
