from __future__ import annotations

import numpy as np
import pytest

from dllm_edge.runtime.unmasking.quota import quota, quotas


@pytest.mark.parametrize(
    ("masks", "steps", "counts"),
    [
        (32, 7, [5, 5, 5, 5, 4, 4, 4]),
        (5, 8, [1, 1, 1, 1, 1, 0, 0, 0]),
        (32, 32, [1] * 32),
        (32, 1, [32]),
        (4, 2, [2, 2]),
        (1, 1, [1]),
        (0, 3, [0, 0, 0]),
    ],
)
def test_quotas(masks: int, steps: int, counts: list[int]) -> None:
    assert quotas(masks, steps) == counts


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 16, 39, 64])
def test_quotas_commit_every_mask_and_never_grow(steps: int) -> None:
    for masks in range(1, 40):
        counts = quotas(masks, steps)
        assert (sum(counts), len(counts)) == (masks, steps)
        assert counts == sorted(counts, reverse=True)
        assert counts[0] - counts[-1] <= 1


@pytest.mark.parametrize(
    ("confidence", "count", "chosen"),
    [
        ([0.2, 0.9, 0.4], 1, [1]),
        ([0.2, 0.9, 0.4], 2, [1, 2]),
        ([0.2, 0.9, 0.4], 3, [1, 2, 0]),
        ([0.5, 0.5, 0.5], 2, [0, 1]),
        ([0.2, 0.9, 0.4], 0, []),
        ([0.2], 5, [0]),
    ],
)
def test_quota_takes_the_most_confident(confidence: list[float], count: int, chosen: list[int]) -> None:
    assert quota(np.log(np.array(confidence, dtype=np.float32)), count).tolist() == chosen
