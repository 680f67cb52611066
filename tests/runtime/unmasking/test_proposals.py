from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dllm_edge.runtime.arrays import FloatArray
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.step import StepResult
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.unmasking.proposals import ConfidenceKind, Proposals, confidences, log_confidences, sample

from ..numpy_engine import CONFIG, MASK


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """In float64."""
    weights = np.exp(logits.astype(np.float64) - logits.max())
    return np.asarray(weights / weights.sum())


# One row over a whole vocabulary of five; the candidates of the second lack its best id, as if that were forbidden.
LOGITS = np.array([[2.0, 1.0, 0.5, 0.0, -1.0], [3.0, 1.0, 0.5, 0.0, -1.0]], dtype=np.float32)
LOG_PROBS = np.log([softmax(row) for row in LOGITS]).astype(np.float32)
CANDIDATES = np.stack((LOG_PROBS[0, :4], LOG_PROBS[1, 1:]))
ENTROPY = np.array([-(softmax(row) * np.log(softmax(row))).sum() for row in LOGITS], dtype=np.float32)


def confidence_of(kind: ConfidenceKind, candidate: int, log_probs: FloatArray = CANDIDATES) -> NDArray[Any]:
    """Of both rows, or of those that there are, in the candidate of this index."""
    count = log_probs.shape[0]
    step = Canvas([7, *[MASK] * count], CONFIG).step(Block(1, count + 1))
    ids, targets = np.zeros(log_probs.shape, dtype=np.int64), np.zeros((count, 1), dtype=np.float32)
    result = StepResult(step, ids, log_probs, ENTROPY[:count], targets)
    logs = log_confidences(kind, np.arange(count), np.full(count, candidate), result, np.random.default_rng(0))
    return confidences(kind, logs)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("maskgit_plus", [softmax(LOGITS[0])[0], softmax(LOGITS[1])[1]]),
        ("topk_margin", [softmax(LOGITS[0])[0] - softmax(LOGITS[0])[1], softmax(LOGITS[1])[1] - softmax(LOGITS[1])[2]]),
        ("entropy", [(softmax(row) * np.log(softmax(row))).sum() for row in LOGITS]),
    ],
)
def test_confidences_are_of_the_distribution_over_the_whole_vocabulary(kind: ConfidenceKind, expected: list[float]) -> None:
    actual = confidence_of(kind, 0)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_a_sampled_tokens_confidence_is_its_own_probability() -> None:
    np.testing.assert_allclose(confidence_of("maskgit_plus", 2), [softmax(LOGITS[0])[2], softmax(LOGITS[1])[3]], rtol=1e-6)


def test_a_margin_over_no_second_candidate_is_the_probability() -> None:
    only = CANDIDATES[:1, :1]
    actual = confidence_of("topk_margin", 0, only)
    np.testing.assert_allclose(actual, softmax(LOGITS[0])[:1], rtol=1e-6)


@pytest.mark.parametrize("kind", ["maskgit_plus", "topk_margin"])
def test_confidences_that_round_to_1_have_logarithms_of_their_own(kind: ConfidenceKind) -> None:
    missing = np.array([3e-9, 1e-9])
    log_probs = np.log(np.stack((1 - missing, missing / 2), 1)).astype(np.float32)
    log_probs[:, 0] = np.log1p(-missing)
    step = Canvas([7, MASK, MASK], CONFIG).step(Block(1, 3))
    zeros = np.zeros((2, 2), dtype=np.int64)
    result = StepResult(step, zeros, log_probs, missing.astype(np.float32), log_probs[:, :1])
    logs = log_confidences(kind, np.arange(2), np.zeros(2, dtype=np.int64), result, np.random.default_rng(0))
    lacks = missing * (1.5 if kind == "topk_margin" else 1)
    np.testing.assert_allclose(-np.expm1(logs.astype(np.float64)), lacks, rtol=1e-6)
    assert confidences(kind, logs).tolist() == [1, 1]


def test_a_margin_of_equal_candidates_is_nothing() -> None:
    even = np.log(np.full((1, 2), 0.5, dtype=np.float32))
    assert confidence_of("topk_margin", 0, even).tolist() == [0]


def test_random_confidence_depends_on_the_seed_alone() -> None:
    first, again = confidence_of("random", 0), confidence_of("random", 3)
    assert first.tolist() == again.tolist()
    assert len(set(first.tolist())) == 2
    assert ((first >= 0) & (first < 1)).all()


def test_no_temperature_takes_the_best_and_draws_nothing() -> None:
    random = np.random.default_rng(3)
    assert sample(CANDIDATES, 0.0, random).tolist() == [0, 0]
    assert random.random() == np.random.default_rng(3).random()


def test_the_same_seed_draws_the_same() -> None:
    rows = np.repeat(CANDIDATES, 50, axis=0)
    draws = [sample(rows, 1.0, np.random.default_rng(seed)).tolist() for seed in (7, 7, 8)]
    assert draws[0] == draws[1] != draws[2]


# Critical values of chi-square with 3 degrees of freedom at 0.1%; the wrong temperature gives hundreds.
CRITICAL = 16.27


def chi_square(temperature: float, claimed: float) -> float:
    """Of 20,000 draws at `temperature` against the softmax at the `claimed` one."""
    rows = np.tile(CANDIDATES[0], (20_000, 1))
    counts = np.bincount(sample(rows, temperature, np.random.default_rng(0)), minlength=4)
    expected = softmax(CANDIDATES[0] / claimed) * counts.sum()
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_many_draws_follow_the_softmax_at_that_temperature(temperature: float) -> None:
    assert chi_square(temperature, temperature) < CRITICAL
    assert chi_square(temperature, temperature * 1.2) > CRITICAL


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("temperature", [1e-6, 1e-300])
def test_a_temperature_close_to_none_takes_the_best(temperature: float) -> None:
    assert sample(np.tile(CANDIDATES, (100, 1)), temperature, np.random.default_rng(0)).tolist() == [0] * 200


def test_rows_are_drawn_independently() -> None:
    rows = np.tile(np.zeros(4, dtype=np.float32), (64, 1))
    assert len(set(sample(rows, 1.0, np.random.default_rng(0)).tolist())) == 4


def test_what_rules_look_at_is_of_the_proposed_rows() -> None:
    result = StepResult(
        Canvas([7, *[MASK] * 4], CONFIG).step(Block(1, 5)),
        topk_ids=np.array([[1, 2], [3, 4], [5, 6], [7, 8]]),
        topk_log_probs=np.log(np.array([[0.5, 0.25], [0.6, 0.1], [0.7, 0.2], [0.8, 0.1]], dtype=np.float32)),
        entropy=np.array([1.0, 2.0, 3.0, 4.0], dtype=np.float32),
        target_log_probs=np.zeros((4, 1), dtype=np.float32),
    )
    rows = np.array([1, 3])
    confidence = np.array([0.6, 0.8], dtype=np.float32)
    proposals = Proposals(rows + 1, np.array([3, 7]), confidence, np.log(confidence), np.full(2, MASK), rows, result)
    assert len(proposals) == 2
    assert proposals.topk_ids.tolist() == [[3, 4], [7, 8]]
    np.testing.assert_allclose(np.exp(proposals.topk_log_probs), [[0.6, 0.1], [0.8, 0.1]], rtol=1e-6)
    assert proposals.entropy.tolist() == [2.0, 4.0]
