from __future__ import annotations

from dllm_edge.export.plan.activations import activation_bytes, new_row_bytes
from dllm_edge.graphs.contract import Profile, cache_bytes

from .models import llada_8b


def test_values_of_a_step_by_hand() -> None:
    config, profile = llada_8b(), Profile(1, 32, 480, 32)
    residual, mask, queries = 2 * 32 * 4096 * 4, 32 * 512, 32 * 32 * 4096 * 2
    logits = 32 * 126464 * (4 * 4 + 2)
    assert activation_bytes(config, "bfloat16", profile, 0) == residual + mask + queries + logits
    scores, states = 32 * 32 * 512 * 4, 2 * (32 + 512) * 32 * 128 * 2
    small = Profile(1, 32, 480, 1)
    assert activation_bytes(config, "bfloat16", small, 4) == residual + 5 * mask + queries + 4 * scores + states
    assert new_row_bytes(config, "bfloat16", profile) == cache_bytes(config, "bfloat16", 32)


def test_values_grow_with_the_square_of_the_canvas_where_scores_are_in_memory() -> None:
    config = llada_8b()
    short, long = (activation_bytes(config, "bfloat16", Profile(1, length, 0, 1), 4) for length in (2048, 4096))
    assert 3.5 < long / short < 4
    short, long = (activation_bytes(config, "bfloat16", Profile(1, length, 0, 1), 0) for length in (2048, 4096))
    assert 2 <= long / short < 2.3
