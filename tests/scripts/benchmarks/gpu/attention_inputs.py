"""A small attention, inputs for it, and its outputs by hand."""

from __future__ import annotations

import numpy as np

from dllm_edge.scripts.benchmarks.gpu.attention import Attention

ATTENTION = Attention(heads=4, kv_heads=2, head_dim=8, queries=3, compute="float32")


def arrays(slots: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {spec.name: generator.standard_normal(spec.sized({"C": slots}), dtype=np.float32) for spec in ATTENTION.specs()[0]}


def by_hand(inputs: dict[str, np.ndarray]) -> np.ndarray:
    key, value = (np.concatenate([inputs[f"past_{name}"], inputs[f"new_{name}"]], 2) for name in ("key", "value"))
    scores = inputs["query"] @ key.swapaxes(2, 3) / np.sqrt(8)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    attended: np.ndarray = weights / weights.sum(-1, keepdims=True) @ value
    return attended
