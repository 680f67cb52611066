"""A tiny random transformer in numpy behind the engine protocol, for tests where torch is not installed.

It computes in float64, so that what equals in exact arithmetic equals here; caches start full of noise, so that a slot
which should be hidden shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.graphs.contract import Profile, top_k
from dllm_edge.runtime.arrays import IntArray
from dllm_edge.runtime.engines.base import Lanes, StepInputs, StepOutputs
from dllm_edge.runtime.engines.host import FIRST_PAST, HostCache, HostCaches, arrays, lane_tensors

Array = NDArray[Any]
MASK, END, VOCABULARY = 5, 3, 41
# Of the weights: attention sharp enough that masks at different places predict different tokens.
SCALE = 3.0

CONFIG = ModelConfig(
    family="numpy",
    vocab_size=VOCABULARY,
    hidden_size=16,
    intermediate_size=24,
    layers=3,
    heads=4,
    kv_heads=2,
    head_dim=8,
    rope_theta=10000.0,
    norm_eps=1e-6,
    max_positions=128,
    attention="bidirectional",
    eos_token_ids=(END,),
    mask_token_id=MASK,
)
SHIFTED = replace(CONFIG, logit_shift=True)
ENDLESS = replace(CONFIG, eos_token_ids=())


class NumpyEngine(HostCaches):
    """Random weights from `seed`; the mask token is never among the candidates."""

    name = "numpy"

    def __init__(self, config: ModelConfig = CONFIG, seed: int = 0) -> None:
        super().__init__(config, "float32", top_k(config, 1))
        random = np.random.default_rng(seed)
        wide, narrow = config.heads * config.head_dim, config.kv_heads * config.head_dim
        shapes = {
            "query": (config.hidden_size, wide),
            "key": (config.hidden_size, narrow),
            "value": (config.hidden_size, narrow),
            "output": (wide, config.hidden_size),
            "up": (config.hidden_size, config.intermediate_size),
            "down": (config.intermediate_size, config.hidden_size),
        }

        def matrix(rows: int, columns: int, scale: float) -> Array:
            return np.asarray(random.standard_normal((rows, columns)) * scale / np.sqrt(rows))

        self.embedding = random.standard_normal((config.vocab_size, config.hidden_size))
        self.layers = [{name: matrix(*shape, SCALE) for name, shape in shapes.items()} for _ in range(config.layers)]
        self.head = matrix(config.hidden_size, config.vocab_size, 3.0)
        self.noise = random

    def allocate(self, batch: int, capacity: int, bound: bool = True, read: bool = True) -> HostCache:
        cache = super().allocate(batch, capacity, bound, read)
        cache.tensors[:] = self.noise.standard_normal(cache.tensors.shape) * 10
        return cache

    def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
        workspace = self.workspace(profile)
        given, config = workspace.inputs, self.config
        past = lane_tensors(cache) if cache else self.buffers(self.input_specs[FIRST_PAST:], profile)
        hidden, queries, new = self.embedding[given.input_ids], [], []
        for index, weights in enumerate(self.layers):
            normed = normalise(hidden, config.norm_eps)
            query, key, value = (split(normed @ weights[name], config.head_dim) for name in ("query", "key", "value"))
            query, key = (rotate(part, given.position_ids, config.rope_theta) for part in (query, key))
            keys, values = (np.concatenate(both, 2) for both in ((past[2 * index], key), (past[2 * index + 1], value)))
            hidden = hidden + attend(query, keys, values, given.attention_mask) @ weights["output"]
            normed = normalise(hidden, config.norm_eps) @ weights["up"]
            hidden = hidden + normed / (1 + np.exp(-normed)) @ weights["down"]
            queries.append(query)
            new += [key, value]
        logits = normalise(np.take_along_axis(hidden, given.logit_rows[:, :, None], 1), config.norm_eps) @ self.head
        for target, values in zip(
            arrays(workspace.outputs), [*self.sampler(logits, given.target_ids), self.mean(queries, given)], strict=True
        ):
            target[:] = values
        for target, values in zip(lane_tensors(bind) if bind else [], new, strict=False):
            target[:] = values
        self.kept_rows = [values.astype(np.float32) for values in new] if keep_rows else []
        return workspace.outputs

    def sampler(self, logits: Array, target_ids: IntArray) -> Sequence[Array]:
        allowed = logits.copy()
        allowed[..., self.config.mask_token_id] = -np.inf
        ids = np.argsort(-allowed, axis=-1, kind="stable")[..., : self.output_specs[0].axes[-1]]
        log_probs = log_softmax(logits)
        entropy = -(np.exp(log_probs) * log_probs).sum(-1)
        return ids, np.take_along_axis(log_probs, ids, -1), entropy, np.take_along_axis(log_probs, target_ids, -1)

    def mean(self, queries: Sequence[Array], given: StepInputs) -> Array:
        groups = [query.reshape(query.shape[0], self.config.kv_heads, -1, *query.shape[2:]).mean(2) for query in queries]
        return np.stack([np.einsum("bq,bhqd->bhd", given.saliency_weights, group) for group in groups], 1)


def log_softmax(logits: Array) -> Array:
    """Over the last axis; the highest is left out of the sum, so that what is near 0 is as exact as the rest."""
    below = logits - logits.max(-1, keepdims=True)
    others = np.exp(below)
    np.put_along_axis(others, logits.argmax(-1)[..., None], 0.0, -1)
    return np.asarray(below - np.log1p(others.sum(-1, keepdims=True)))


def normalise(states: Array, eps: float) -> Array:
    return np.asarray(states / np.sqrt((states * states).mean(-1, keepdims=True) + eps))


def split(states: Array, head_dim: int) -> Array:
    """`[B, Q, heads * D]` to `[B, heads, Q, D]`."""
    return np.asarray(states.reshape(*states.shape[:2], -1, head_dim).transpose(0, 2, 1, 3))


def rotate(states: Array, position_ids: IntArray, theta: float) -> Array:
    half = states.shape[-1] // 2
    angles = position_ids[:, None, :, None] * theta ** (-np.arange(half) / half)
    first, second = states[..., :half], states[..., half:]
    return np.concatenate(
        (first * np.cos(angles) - second * np.sin(angles), second * np.cos(angles) + first * np.sin(angles)), -1
    )


def attend(query: Array, key: Array, value: Array, mask: Array) -> Array:
    group = query.shape[1] // key.shape[1]
    key, value = np.repeat(key, group, 1), np.repeat(value, group, 1)
    scores = np.where(mask, query @ key.swapaxes(2, 3) / np.sqrt(query.shape[-1]), -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = (weights / weights.sum(-1, keepdims=True)) @ value
    return np.asarray(mixed.transpose(0, 2, 1, 3).reshape(query.shape[0], query.shape[2], -1))
