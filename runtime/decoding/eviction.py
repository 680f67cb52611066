"""Which slots of a cache stay: eviction by saliency."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ...graphs.errors import DllmEdgeError
from ..arrays import BoolArray, FloatArray, IntArray
from .settings import Setting, Settings, declare
from .step import Saliency, Select
from .window import Block


def _check_kernel(kernel: int) -> None:
    if kernel % 2 == 0:
        raise DllmEdgeError(f"kernel={kernel}: must be odd, or scores would shift by half a slot")


RETENTION = declare(Setting("retention", 0.5, "Share of the slots outside the block that eviction keeps.", least=0.0, most=1.0))
KERNEL = declare(
    Setting("kernel", 3, "Width of the maximum that smooths saliency over neighbours (odd).", least=1, check=_check_kernel)
)


def evict(block: Block, length: int, settings: Settings) -> Generator[Saliency | Select, Any, BoolArray]:
    """Keep the most salient of the first `length` slots outside the block: what a decode does after a refresh that evicts.

    Returns `[m]`: the slots of the cache that steps then see, which are all that were kept.
    """
    keep = kept_slots((yield Saliency())[:, :length], block, settings.retention, settings.kernel)
    yield Select(keep)
    return np.ones(keep.shape[1], dtype=np.bool_)


def kept_count(length: int, block: int, retention: float) -> int:
    """How many of a canvas' `length` positions eviction keeps beside a block of `block` tokens."""
    return int((length - block) * retention)


def kept_slots(scores: FloatArray, block: Block, retention: float, kernel: int) -> IntArray:
    """The most salient slots outside the block, `[layers, m]` ascending, from `scores` `[layers, L]`.

    Scores are smoothed by a maximum over `kernel` (odd) neighbours on the axis from which the block is cut out, so that
    the prefix's end and the suffix's start are neighbours (Sparse-dLLM, Song et al. 2025, section 3). Of equal scores
    the earlier slot stays.
    """
    layers, length = scores.shape
    outside = np.delete(np.arange(length), np.s_[block.start : block.stop])
    if not outside.size:
        return np.zeros((layers, 0), dtype=np.int64)
    kernel = min(kernel, 2 * outside.size - 1)  # which sees all of them from each
    edge = np.full((layers, kernel // 2), -np.inf, dtype=scores.dtype)
    padded = np.concatenate((edge, scores[:, outside], edge), axis=1)
    smoothed = sliding_window_view(padded, kernel, axis=1).max(-1)
    best = np.argsort(-smoothed, axis=1, kind="stable")[:, : kept_count(length, len(block), retention)]
    return outside[np.sort(best, axis=1)]
