import math

import pytest
import torch

from .rules import candidates, dream_count, factor, frechet, profile, quota, ranked, threshold, top
from .systems import keep_best, keep_gap, pooled


@pytest.mark.parametrize(
    ("masks", "steps", "expected"),
    [(32, 7, [5, 5, 5, 5, 4, 4, 4]), (5, 8, [1, 1, 1, 1, 1, 0, 0, 0]), (4, 4, [1] * 4), (4, 1, [4])],
)
def test_quota(masks: int, steps: int, expected: list[int]) -> None:
    assert quota(masks, steps) == expected


def dream_counts(masks: int, steps: int, first: int) -> list[int]:
    counts = []
    for step in range(first, steps):
        counts.append(dream_count(masks, step, steps))
        masks -= counts[-1]
    assert masks == 0
    return counts


@pytest.mark.parametrize(
    ("masks", "steps", "first", "expected"),
    [
        (64, 8, 0, [7, 8, 8, 8, 8, 8, 8, 9]),
        (256, 256, 0, [0] + [1] * 254 + [2]),
        (31, 32, 1, [0] + [1] * 29 + [2]),
    ],
)
def test_dream_schedule(masks: int, steps: int, first: int, expected: list[int]) -> None:
    assert dream_counts(masks, steps, first) == expected


def test_dream_schedule_is_that_of_float64() -> None:
    for masks, steps in [(8, 8), (32, 32), (31, 16), (128, 64), (100, 50)]:
        times = torch.linspace(1, 1e-3, steps + 1, dtype=torch.float64)
        left = masks
        for step in range(steps - 1):
            expected = int(left * (1 - times[step + 1] / times[step]))
            assert dream_count(left, step, steps) == expected
            left -= expected


def test_dream_schedule_takes_all_past_its_end() -> None:
    assert dream_count(7, 1, 1) == 7


@pytest.mark.parametrize(
    ("confidence", "expected"),
    [([0.91, 0.5, 0.9, 0.2], [0, 2]), ([0.3, 0.5, 0.5], [1]), ([0.95, 0.99], [0, 1])],
)
def test_threshold(confidence: list[float], expected: list[int]) -> None:
    assert threshold(confidence, 0.9).indices == expected


@pytest.mark.parametrize(
    ("confidence", "paper", "compat"),
    [
        ([0.99, 0.98, 0.1], [0, 1], [0, 1, 2]),
        ([0.99, 0.98, 0.1, 0.05], [0, 1], [0, 1]),
        ([0.2, 0.1], [0], [0, 1]),
        ([0.2], [0], [0]),
        ([0.7, 0.69, 0.74], [0, 2], [0, 1, 2]),
        ([0.95] * 5, [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]),
    ],
)
def test_factor(confidence: list[float], paper: list[int], compat: list[int]) -> None:
    assert factor(confidence, 1.0).indices == paper
    assert factor(confidence, 1.0, reference_compat=True).indices == compat


def test_frechet() -> None:
    """Confidences that are sums of powers of 2: of 0.75 the third G is the margin itself, which is not enough."""
    assert profile([1.0, 0.75, 0.75, 0.75]) == [1.0, 0.5, 0.25, 0.0]
    assert frechet([0.75] * 4, 0.0).indices == [0, 1]
    assert frechet([0.75] * 4, 0.25).indices == [0]
    assert frechet([0.5, 0.75, 1.0, 1.0], 0.0).indices == [1, 2, 3]
    assert frechet([0.25], 0.5).indices == [0]
    assert frechet([0.5, 0.75, 1.0, 1.0], 0.375).slack == 0.125


def test_ties_go_to_the_earlier_position() -> None:
    assert ranked([0.5, 0.7, 0.7, 0.5]) == [1, 2, 0, 3]
    assert top([0.5, 0.7, 0.7, 0.5], 3).indices == [0, 1, 2]
    assert top([0.5, 0.7], 0).indices == []


def test_slack_is_the_distance_to_another_choice() -> None:
    assert top([0.5, 0.7, 0.4], 2).slack == pytest.approx(0.1)
    assert top([0.5, 0.7], 2).slack == math.inf
    assert threshold([0.95, 0.91, 0.3], 0.9).slack == pytest.approx(0.01)
    assert threshold([0.5, 0.48], 0.9).slack == pytest.approx(0.02)
    assert factor([0.99, 0.67, 0.1], 1.0).slack == pytest.approx(0.67 - 2 / 3)


def test_banned_ids_keep_their_probability_but_are_never_chosen() -> None:
    logits = torch.tensor([[1.0, 9.0, 2.0, 2.0, 8.0]])
    probability = torch.softmax(logits[0].double(), -1)
    (best,) = candidates(logits, [7], "maskgit_plus", {1, 4})
    assert (best.position, best.token, best.margin) == (7, 2, 0.0)
    assert best.confidence == pytest.approx(float(probability[2]), rel=1e-12)
    (margin,) = candidates(logits, [7], "topk_margin", {1, 2})
    assert margin.token == 4
    assert margin.margin == pytest.approx(6.0)
    assert margin.confidence == pytest.approx(float(probability[4] - probability[3]), rel=1e-12)
    (entropy,) = candidates(logits, [7], "entropy", {1})
    assert entropy.confidence == pytest.approx(float((probability * probability.log()).sum()), rel=1e-12)


def test_pooling_treats_the_blocks_neighbours_as_neighbours() -> None:
    importance = torch.tensor([0.1, 0.9, 0.2, 0, 0.5, 0.4, 0.3, 0.8, 0.1, 0])  # positions 5 and 6 are the block
    score = pooled(importance, 3)
    assert torch.equal(score, torch.tensor([0.9, 0.9, 0.9, 0.5, 0.5, 0.5, 0.8, 0.8, 0.8, 0.1]))
    assert keep_best(score, 5).tolist() == [0, 1, 2, 6, 7]
    assert keep_gap(score, 5) == pytest.approx(0.1)
    assert keep_gap(score, 3) == pytest.approx(0.1)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_pooling_equals_torch(kernel: int) -> None:
    score = torch.randn(9, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.max_pool1d(score[None], kernel, stride=1, padding=kernel // 2)[0]
    assert torch.equal(pooled(score, kernel), expected)
