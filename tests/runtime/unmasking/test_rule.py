from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.unmasking import RULES, find_rule
from dllm_edge.runtime.unmasking.rule import Budget, ranked

from ..numpy_engine import CONFIG, MASK
from ..scripted import proposals_of

RANDOM = np.random.default_rng(0)


def counts(masks: int, steps: int, first_alone: bool = False, **changes: Any) -> list[int]:
    """How many each step takes of candidates that are all as good; with `first_alone`, the first has gone before."""
    settings, block = Settings(gen_length=64, **changes), Block(1, 1 + masks)
    budget = Budget(masks - first_alone, steps, int(first_alone), RANDOM, block)
    rule, left, taken = find_rule(settings.unmask)(settings, budget), masks - first_alone, list[int]()
    canvas = Canvas([7, *[MASK] * masks], CONFIG)
    while left:
        decision = rule.choose(proposals_of([0.5] * left), canvas, len(taken) + first_alone)
        taken.append(int(decision.commit.size))
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
        ({"unmask": "frechet", "frechet_margin": -2.6}, [6]),
        ({"unmask": "frechet", "frechet_margin": -1.1}, [3, 3]),
        ({"unmask": "frechet", "frechet_margin": 0.1}, [1] * 6),
    ],
)
def test_threshold_factor_and_frechet_do_not_count_steps(changes: dict[str, Any], expected: list[int]) -> None:
    assert counts(6, 1, **changes) == expected


@pytest.mark.parametrize(
    ("confidence", "order"),
    [
        ([0.1, 0.9, 0.5], [1, 2, 0]),
        ([0.5, 0.5, 0.5], [0, 1, 2]),
        ([0.3, 0.5, 0.5, 0.3], [1, 2, 0, 3]),
        ([-0.0, 0.0, 0.0], [0, 1, 2]),
        ([-2.0, -0.5, -1.0], [1, 2, 0]),
        ([0.7], [0]),
        ([], []),
    ],
)
def test_confidence_descending_then_position_ascending(confidence: list[float], order: list[int]) -> None:
    assert ranked(np.array(confidence, dtype=np.float32)).tolist() == order


def test_ties_stay_in_position_order_when_there_are_many() -> None:
    """Small arrays are sorted by insertion, which is stable whatever was asked for."""
    confidence = np.repeat(np.array([0.25, 0.75], dtype=np.float32), 200)
    assert ranked(confidence).tolist() == [*range(200, 400), *range(200)]


@pytest.mark.parametrize(
    ("changes", "confidence", "gates"),
    [
        ({"unmask": "quota"}, [0.9, 0.5], []),
        ({"unmask": "schedule"}, [0.9, 0.5], []),
        ({"unmask": "threshold", "threshold": 0.7}, [0.9, 0.5], [0.7]),
        ({"unmask": "factor", "factor": 1.2}, [0.9, 0.5, 0.2], [1 - 1.2 / 2, 1 - 1.2 / 3, 1 - 1.2 / 4]),
        ({"unmask": "frechet", "frechet_margin": 0.2}, [0.5, 0.9, 0.2], [1 - (0.8 - 0.1) / 2]),
        ({"unmask": "frechet", "frechet_margin": -0.2}, [0.5, 0.9, 0.2], [1 - (1.2 - 0.1) / 2, 1 - (1.2 - 0.6) / 2]),
    ],
)
def test_gates_are_where_a_decision_would_change(changes: dict[str, Any], confidence: list[float], gates: list[float]) -> None:
    settings = Settings(**changes)
    rule = find_rule(settings.unmask)(settings, Budget(len(confidence), 4, 0, RANDOM, Block(1, 5)))
    rule.choose(proposals_of(confidence), Canvas([7, *[MASK] * 4], CONFIG), 0)
    assert list(rule.gates()) == pytest.approx(gates)


def test_every_rule_is_found_by_its_name() -> None:
    assert {"conv", "credit", "entropy-bound", "entropy-threshold", "factor", "frechet", "hierarchical"} <= RULES.keys()
    assert {"klass", "local-leap", "quota", "saber", "schedule", "threshold", "token-editing", "wino"} <= RULES.keys()
    assert list(RULES) == sorted(RULES)
    assert all(rule.sweep is not None and rule.sweep.setting in rule.settings for rule in RULES.values())
    assert all(find_rule(name).name == name and find_rule(name).summary for name in RULES)
    with pytest.raises(DllmEdgeError, match=f"unknown rule 'luck': choose one of {', '.join(RULES)}"):
        find_rule("luck")
