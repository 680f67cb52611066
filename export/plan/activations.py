"""Bytes that a step's values take while it runs, estimated from the largest tensors that live at one time."""

from __future__ import annotations

from ...graphs.config import ModelConfig
from ...graphs.contract import Profile, cache_bytes
from ...graphs.dtypes import DTYPES, DType

FLOAT32 = DTYPES["float32"].itemsize


def activation_bytes(config: ModelConfig, compute_dtype: DType, profile: Profile, score_arrays: int) -> int:
    """Return the bytes of the largest set of values of one step that live together.

    `score_arrays` is how many float32 arrays of attention's scores are in memory whole at a time. Counted from
    `graphs.modules.step` and its parts: the float32 residual stream before and after an addition, the mask, the queries of all
    layers, which saliency reads at the end, and the largest of attention, feed-forward and head. Against ONNX Runtime's CPU
    provider (135M parameters, contexts of 1,024 and 2,048, three systems, both flavours) whole decodes took 0.88 to 1.07 of it.
    """
    rows = profile.batch * profile.queries
    visible = rows * (profile.capacity + profile.queries)
    residual = 2 * rows * config.hidden_size * FLOAT32
    # The mask as it comes, and as float32 where scores are.
    mask = visible * (1 + FLOAT32 * (score_arrays > 0))
    queries = rows * config.layers * config.heads * config.head_dim * DTYPES[compute_dtype].itemsize
    attention = _attention(config, compute_dtype, profile) + score_arrays * config.heads * visible * FLOAT32
    feed_forward, head = _feed_forward(config, compute_dtype, rows), _head(config, compute_dtype, profile)
    return residual + mask + queries + max(attention, feed_forward, head)


def new_row_bytes(config: ModelConfig, compute_dtype: DType, profile: Profile) -> int:
    """Return the bytes of the new keys and values that a step returns, where no cache is bound to them."""
    return profile.batch * cache_bytes(config, compute_dtype, profile.queries)


def _attention(config: ModelConfig, compute_dtype: DType, profile: Profile) -> int:
    """Return the bytes of queries, of what they attend to, and of the layer's keys and values, joined to the cache's."""
    rows, slots = profile.batch * profile.queries, profile.batch * (profile.capacity + profile.queries)
    return 2 * (rows * config.heads + slots * config.kv_heads) * config.head_dim * DTYPES[compute_dtype].itemsize


def _feed_forward(config: ModelConfig, compute_dtype: DType, rows: int) -> int:
    """Return the bytes of gate, up and their product."""
    return 3 * rows * config.intermediate_size * DTYPES[compute_dtype].itemsize


def _head(config: ModelConfig, compute_dtype: DType, profile: Profile) -> int:
    """Return the bytes of the logits as they are computed, and in float32 with three temporaries.

    These are what they are below the highest, the exponentials of that, and products.
    """
    item = DTYPES[compute_dtype].itemsize
    return profile.batch * profile.rows * config.vocab_size * (4 * FLOAT32 + (item if item < FLOAT32 else 0))
