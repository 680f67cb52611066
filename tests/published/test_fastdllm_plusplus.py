"""Fast-dLLM++: the Fréchet profile without a cache, with the prefix cache and with the dual cache."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .cases import Case, read_cases
from .comparison import Asked, Published, hold, hold_documented

SYSTEM = "fastdllm_plusplus"
SYSTEMS = {
    "generate": "vanilla",
    "generate_with_prefix_cache": "fast-dllm-prefix",
    "generate_with_dual_cache": "fast-dllm-dual",
}
MASKS_LEFT = "it takes at most steps / blocks forwards a block and leaves masks"
DEPARTURES = dict.fromkeys((29, 30, 61, 62, 93, 94), MASKS_LEFT)


def asked(case: Case) -> Asked:
    """The rule asks for no number of steps."""
    same = {name: case.settings[name] for name in ("gen_length", "block_length", "frechet_margin")}
    return Asked(SYSTEMS[case.function], {**same, "unmask": "frechet", "early_stop": False})


@pytest.mark.parametrize("case", read_cases(SYSTEM), ids=str)
def test_released_code(case: Case, published: Callable[[str], Published]) -> None:
    hold(case, published(case.checkpoint).decode(case, asked(case)), DEPARTURES)


def test_departures_are_documented() -> None:
    hold_documented(SYSTEM, DEPARTURES)
