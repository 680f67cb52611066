from __future__ import annotations

import numpy as np
import pytest

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.runtime.unmasking.entropy_threshold import entropy_threshold

from ..numpy_engine import ENDLESS, SHIFTED, NumpyEngine
from ..recorder import finish
from ..scripted import request

BINARY = np.array([0.9, 0.85, 0.8])
"""Of two tokens, the probability of one; the entropies are 0.3251, 0.4227 and 0.5004."""


@pytest.mark.parametrize(
    ("most", "expected"), [(0.5, [0, 1]), (0.51, [0, 1, 2]), (0.4, [0]), (0.3, [0]), (-1.0, [0]), (100.0, [0, 1, 2])]
)
def test_vectors(most: float, expected: list[int]) -> None:
    entropy = -BINARY * np.log(BINARY) - (1 - BINARY) * np.log(1 - BINARY)
    assert entropy_threshold(entropy.astype(np.float32), most).tolist() == expected


def test_the_lowest_comes_first_and_of_equals_the_earlier() -> None:
    entropy = np.array([0.5, 0.25, 0.75, 0.25, 0.5], dtype=np.float32)
    assert entropy_threshold(entropy, 0.5).tolist() == [1, 3, 0, 4]
    assert entropy_threshold(entropy[[0, 4]], 0.1).tolist() == [0]


@pytest.mark.parametrize("config", [ENDLESS, SHIFTED], ids=["plain", "shifted"])
@pytest.mark.parametrize("system", ["vanilla", "fast-dllm-dual"])
def test_below_every_entropy_it_takes_the_lowest_one_a_step(system: str, config: ModelConfig) -> None:
    """Whatever the confidence is: that of the trace alone is."""
    rules = ({"unmask": "entropy-threshold", "entropy_threshold": -1.0}, {"unmask": "quota", "confidence": "entropy"})
    asked = [request(system, config=config, early_stop=False, **rule) for rule in rules]
    for one in asked:
        finish(NumpyEngine(config), [one])
    first, second = ([(commit.positions.tolist(), commit.ids.tolist()) for commit in one.canvas.commits] for one in asked)
    assert first == second
    assert len(first) == 16


def test_its_gate_is_among_the_scores_that_it_orders_by() -> None:
    (end,) = finish(NumpyEngine(ENDLESS), [request("vanilla", unmask="entropy-threshold", entropy_threshold=1.5)])
    for step in end.trace:
        (choice,) = step.choices
        taken = np.isin(choice.positions, step.commits[0].positions)
        assert choice.gates == (-1.5,)
        assert (choice.scores[taken] >= -1.5).all() or taken.sum() == 1
        assert (choice.scores[~taken] < -1.5).all()
