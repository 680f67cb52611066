from __future__ import annotations

import numpy as np
import pytest

from dllm_edge.runtime.arrays import FloatArray
from dllm_edge.runtime.decoding.eviction import kept_count, kept_slots
from dllm_edge.runtime.decoding.window import Block

VECTOR = [0.1, 0.9, 0.2, 0.0, 0.5, 9.0, 9.0, 0.4, 0.3, 0.8, 0.1, 0.0]


def slots(scores: list[float], start: int, stop: int, retention: float, kernel: int) -> list[int]:
    kept = kept_slots(np.array([scores], dtype=np.float32), Block(start, stop), retention, kernel)
    return kept[0].tolist()  # type: ignore[no-any-return]


def brute_force(scores: FloatArray, start: int, stop: int, retention: float, kernel: int) -> list[list[int]]:
    """Word by word: cut the block out, take each place's best neighbour, then the best places, the earlier first."""
    outside = [slot for slot in range(scores.shape[1]) if not start <= slot < stop]
    kept = []
    for layer in scores:
        compact = [float(layer[slot]) for slot in outside]
        reach = kernel // 2
        smooth = [max(compact[max(0, place - reach) : place + reach + 1]) for place in range(len(compact))]
        order = sorted(range(len(compact)), key=lambda place: (-smooth[place], place))
        kept.append(sorted(outside[place] for place in order[: int(len(compact) * retention)]))
    return kept


def test_vector() -> None:
    """The block's neighbours are neighbours, its own scores count nowhere, ties go to the earlier slot."""
    assert slots(VECTOR, 5, 7, 0.5, 3) == [0, 1, 2, 8, 9]


@pytest.mark.parametrize(
    ("scores", "start", "stop", "retention", "kernel", "kept"),
    [
        ([0.0, 1.0, 9.0, 9.0, 0.5, 0.0], 2, 4, 0.5, 1, [1, 4]),
        ([0.0, 1.0, 9.0, 9.0, 0.5, 0.0], 2, 4, 0.5, 3, [0, 1]),
        ([0.0, 0.0, 9.0, 9.0, 1.0, 0.0], 2, 4, 0.5, 3, [1, 4]),
        ([0.0] * 6, 2, 4, 0.5, 3, [0, 1]),
        ([-3.0, -2.0, 9.0, 9.0, -1.0, -4.0], 2, 4, 0.5, 1, [1, 4]),
        ([0.0, 1.0, 9.0, 9.0, 0.5, 0.0], 2, 4, 1.0, 3, [0, 1, 4, 5]),
        ([0.0, 1.0, 9.0, 9.0, 0.5, 0.0], 2, 4, 0.0, 3, []),
        ([0.0, 1.0, 9.0, 9.0, 0.5, 0.0], 2, 4, 0.49, 1, [1]),
        ([9.0, 9.0, 0.5, 0.7], 0, 2, 0.5, 1, [3]),
        ([0.5, 0.7, 9.0, 9.0], 2, 4, 0.5, 1, [1]),
        ([9.0, 9.0], 0, 2, 0.5, 3, []),
    ],
)
def test_cases(scores: list[float], start: int, stop: int, retention: float, kernel: int, kept: list[int]) -> None:
    assert slots(scores, start, stop, retention, kernel) == kept


@pytest.mark.parametrize("kernel", [1, 3, 5, 9])
@pytest.mark.parametrize("retention", [0.0, 0.3, 0.5, 0.75, 1.0])
def test_against_brute_force(retention: float, kernel: int) -> None:
    """Scores of a few values, so that most of them tie."""
    random = np.random.default_rng(0)
    for _ in range(60):
        length = int(random.integers(2, 24))
        start, stop = sorted(int(edge) for edge in random.choice(length + 1, 2, replace=False))
        scores = random.integers(-3, 4, (3, length)).astype(np.float32)
        kept = kept_slots(scores, Block(start, stop), retention, kernel)
        assert kept.tolist() == brute_force(scores, start, stop, retention, kernel)
        assert kept.shape == (3, kept_count(length, stop - start, retention))


def test_layers_keep_their_own() -> None:
    scores = np.array([[1.0, 0.0, 9.0, 0.0], [0.0, 1.0, 9.0, 0.0]], dtype=np.float32)
    assert kept_slots(scores, Block(2, 3), 0.4, 1).tolist() == [[0], [1]]


@pytest.mark.parametrize(
    ("length", "block", "retention", "count"),
    [(12, 2, 0.5, 5), (13, 2, 0.5, 5), (100, 32, 0.7, 47), (10, 10, 1.0, 0), (12, 2, 0.0, 0), (12, 2, 1.0, 10)],
)
def test_kept_count(length: int, block: int, retention: float, count: int) -> None:
    assert kept_count(length, block, retention) == count
