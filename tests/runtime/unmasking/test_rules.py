from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.unmasking.rules import Rule


def counts(masks: int, steps: int, first_alone: bool = False, **changes: Any) -> list[int]:
    """How many each step takes of candidates that are all as good; with `first_alone`, the first has gone before."""
    rule = Rule(Settings(gen_length=64, **changes), masks, steps, first_alone)
    left, taken = masks - first_alone, []
    while left:
        taken.append(int(rule.choose(np.full(left, 0.5, dtype=np.float32)).size))
        left -= taken[-1]
    return taken


@pytest.mark.parametrize(
    ("masks", "steps", "first_alone", "expected"),
    [
        (8, 8, False, [1] * 8),
        (8, 3, False, [3, 3, 2]),
        (8, 8, True, [1] * 7),
        (8, 3, True, [4, 3]),
        (8, 1, False, [8]),
        (8, 1, True, [7]),
        (8, 2, True, [7]),
        (1, 4, False, [1]),
    ],
)
def test_quota(masks: int, steps: int, first_alone: bool, expected: list[int]) -> None:
    assert counts(masks, steps, first_alone, unmask="quota") == expected


@pytest.mark.parametrize(
    ("masks", "steps", "first_alone", "expected"),
    [
        (4, 4, False, [0, 1, 1, 2]),
        (32, 32, True, [0, *[1] * 29, 2]),
        (64, 8, False, [7, 8, 8, 8, 8, 8, 8, 9]),
        (8, 1, True, [7]),
    ],
)
def test_schedule(masks: int, steps: int, first_alone: bool, expected: list[int]) -> None:
    assert counts(masks, steps, first_alone, unmask="schedule") == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"unmask": "threshold", "threshold": 0.5}, [6]),
        ({"unmask": "threshold", "threshold": 0.6}, [1] * 6),
        ({"unmask": "factor", "factor": 3.6}, [6]),
        ({"unmask": "factor", "factor": 2.5}, [3, 3]),
        ({"unmask": "factor", "factor": 1.0}, [1] * 6),
        ({"unmask": "factor", "factor": 1.0, "reference_compat": True}, [1, 1, 1, 1, 2]),
    ],
)
def test_threshold_and_factor_do_not_count_steps(changes: dict[str, Any], expected: list[int]) -> None:
    assert counts(6, 1, **changes) == expected
