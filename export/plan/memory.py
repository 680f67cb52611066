"""Bytes that a step's values take while it runs: an estimate from the largest tensors that live at one time."""

from __future__ import annotations

from ...graphs.config import ModelConfig
from ...graphs.contract import Profile, cache_bytes
from ...graphs.dtypes import DTYPES, DType
from .decode import Steps

FLOAT32 = DTYPES["float32"].itemsize


def steady_cache(config: ModelConfig, compute: DType, steps: Steps, batch: int) -> int:
    """Bytes of the caches that exist between refreshes."""
    return batch * cache_bytes(config, compute, steps.capacity)


def peak_cache(config: ModelConfig, compute: DType, steps: Steps, batch: int) -> int:
    """The same, and the whole canvas of the one sequence that is being evicted."""
    return steady_cache(config, compute, steps, batch) + cache_bytes(config, compute, steps.staged)


def activations(config: ModelConfig, compute: DType, profile: Profile, scores: int) -> int:
    """Bytes of the largest set of values of one step that live together; `scores` are how many float32 arrays of attention's
    scores are in memory whole at a time.

    Counted from `graphs.step` and its parts: the float32 residual stream before and after an addition, the mask, the queries of
    all layers, which saliency reads at the end, and the largest of attention, feed-forward and head. Against ONNX Runtime's CPU
    provider (135M parameters, contexts of 1,024 and 2,048, three systems, both flavours) whole decodes took 0.88 to 1.07 of it.
    """
    rows = profile.batch * profile.queries
    visible = rows * (profile.capacity + profile.queries)
    residual = 2 * rows * config.hidden_size * FLOAT32
    # The mask as it comes, and as float32 where scores are.
    mask = visible * (1 + FLOAT32 * (scores > 0))
    queries = rows * config.layers * config.heads * config.head_dim * DTYPES[compute].itemsize
    attention = _attention(config, compute, profile) + scores * config.heads * visible * FLOAT32
    return residual + mask + queries + max(attention, _feed_forward(config, compute, rows), _head(config, compute, profile))


def new_rows(config: ModelConfig, compute: DType, profile: Profile) -> int:
    """Bytes of the new keys and values that a step returns, where they are not bound to a cache."""
    return profile.batch * cache_bytes(config, compute, profile.queries)


def _attention(config: ModelConfig, compute: DType, profile: Profile) -> int:
    """Queries and what is attended from them; the layer's keys and values, joined to the cache's."""
    rows, slots = profile.batch * profile.queries, profile.batch * (profile.capacity + profile.queries)
    return 2 * (rows * config.heads + slots * config.kv_heads) * config.head_dim * DTYPES[compute].itemsize


def _feed_forward(config: ModelConfig, compute: DType, rows: int) -> int:
    """Gate, up and their product."""
    return 3 * rows * config.intermediate_size * DTYPES[compute].itemsize


def _head(config: ModelConfig, compute: DType, profile: Profile) -> int:
    """Logits as they are computed, and in float32 with three temporaries (below the highest, their exponentials, products)."""
    item = DTYPES[compute].itemsize
    return profile.batch * profile.rows * config.vocab_size * (4 * FLOAT32 + (item if item < FLOAT32 else 0))
