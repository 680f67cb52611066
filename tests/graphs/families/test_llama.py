from __future__ import annotations

from pathlib import Path

import pytest

from dllm_edge.graphs.contract import Flavour
from dllm_edge.graphs.families import FAMILIES

from ...tiny import config_json, write_tiny
from .oracle import assert_close, our_logits, reference_logits, visible


@pytest.mark.parametrize("flavour", ["fused", "portable"])
@pytest.mark.parametrize("pattern", ["bidirectional", "causal"])
def test_equals_transformers(tmp_path: Path, pattern: str, flavour: Flavour) -> None:
    write_tiny(tmp_path, "llama")
    reference = reference_logits(
        tmp_path, "llama", visible(pattern), num_key_value_heads=2, rms_norm_eps=1e-6, rope_theta=10000.0
    )
    assert_close(our_logits(tmp_path, visible(pattern), flavour), reference)


def test_keys_that_older_configurations_leave_out() -> None:
    old = {
        key: value
        for key, value in config_json("llama").items()
        if key not in ("head_dim", "num_key_value_heads", "rope_parameters", "attention_bias", "mlp_bias")
    }
    config = FAMILIES["llama"].config(old)
    assert (config.head_dim, config.kv_heads, config.rope_theta) == (16, 4, 10000.0)
    assert (config.query_key_value_bias, config.output_bias, config.feed_forward_bias) == (False, False, False)


def test_biases() -> None:
    config = FAMILIES["llama"].config(config_json("llama") | {"attention_bias": True, "mlp_bias": True})
    assert (config.query_key_value_bias, config.output_bias, config.feed_forward_bias) == (True, True, True)
