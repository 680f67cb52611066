from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dllm_edge.graphs.modules.sampler_head import SamplerHead

Float64 = NDArray[np.float64]
FORBIDDEN = [1, 7, 20]
VOCABULARY, CANDIDATES, TARGETS = 24, 5, [[0, 7, 23]]


def log_probs_of(logits: Float64) -> Float64:
    """`[R, V]` in float64, the highest left out of the sum so that nothing rounds to 0 near a probability of 1."""
    below = logits - logits.max(-1, keepdims=True)
    others = np.exp(below)
    np.put_along_axis(others, logits.argmax(-1)[:, None], 0.0, -1)
    return np.asarray(below - np.log1p(others.sum(-1, keepdims=True)))


def entropy_of(logits: Float64) -> Float64:
    logs = log_probs_of(logits)
    return np.asarray(-(np.exp(logs) * logs).sum(-1))


def rows() -> NDArray[np.float32]:
    """Flat rows, sharp ones, forbidden ids and allowed ones highest, ties of each with the others, at the ends too."""
    random = np.random.default_rng(0)
    found = [random.standard_normal(VOCABULARY) * scale for scale in (0.1, 3, 30)]
    for highest in (0, 1, 5, 7, 20, 23):
        for lead in (0.0, 0.5, 9.0, 17.0, 40.0, 90.0):
            row = random.standard_normal(VOCABULARY)
            row[highest] = row.max() + lead
            found.append(row)
    for tied in ([3, 4], [1, 3], [1, 7], [0, 23], [7, 8, 20], list(range(VOCABULARY))):
        row = random.standard_normal(VOCABULARY)
        row[tied] = row.max() + 12
        found.append(row)
    return np.asarray(np.array(found) + 30, dtype=np.float32)


def head(forbidden: list[int]) -> SamplerHead:
    return SamplerHead(VOCABULARY, forbidden, CANDIDATES)


@pytest.mark.parametrize("forbidden", [FORBIDDEN, [5], []])
def test_against_float64(forbidden: list[int]) -> None:
    logits = rows()
    targets = torch.tensor(TARGETS).expand(len(logits), -1)[None]
    ids, log_probs, entropy, target_log_probs = (
        output[0].numpy() for output in head(forbidden)(torch.from_numpy(logits)[None], targets)
    )
    exact, wanted_entropy = log_probs_of(logits.astype(np.float64)), entropy_of(logits.astype(np.float64))
    assert not np.isin(ids, forbidden).any()
    assert (np.diff(log_probs) <= 0).all()
    np.testing.assert_allclose(log_probs, np.take_along_axis(exact, ids, -1), rtol=2e-6, atol=0)
    np.testing.assert_allclose(target_log_probs, exact[:, TARGETS[0]], rtol=2e-6, atol=0)
    np.testing.assert_allclose(entropy, wanted_entropy, rtol=2e-6, atol=0)
