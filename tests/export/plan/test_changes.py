from __future__ import annotations

from dataclasses import replace

import pytest

from dllm_edge.export.plan.changes import (
    Change,
    fused_flavour,
    lower_retention,
    narrower_dtype,
    shorter_context,
    smaller_batch,
    smaller_block,
)
from dllm_edge.export.plan.decode import Decode
from dllm_edge.export.plan.scenario import Scenario

from .models import llada_8b, planned_model, scenario

DUAL = scenario("l4", Decode("fast-dllm-dual", 300, gen_length=128, block_length=64, batch=5))
WHOLE = DUAL.with_decode(replace(DUAL.decode, block_length=0))
SPARSE = DUAL.with_decode(replace(DUAL.decode, system="sparse-dllm", retention=0.5))
CAUSAL = replace(DUAL, model=planned_model(replace(llada_8b(), attention="block-causal", attention_block=32)))


@pytest.mark.parametrize(
    ("change", "before", "options"),
    [
        (narrower_dtype, DUAL, []),
        (narrower_dtype, replace(DUAL, model=planned_model(dtype="float32")), ["--dtype bfloat16"]),
        (fused_flavour, DUAL, []),
        (fused_flavour, scenario("orin-nx-8gb", DUAL.decode), ["--flavour fused"]),
        (smaller_batch, DUAL, ["--batch 2", "--batch 1"]),
        (lower_retention, DUAL, ["--systems sparse-dllm --retention 0.5", "--systems sparse-dllm --retention 0.25"]),
        (lower_retention, SPARSE, ["--systems sparse-dllm --retention 0.25"]),
        (lower_retention, CAUSAL, []),
        (smaller_block, DUAL, ["--block-length 32", "--block-length 16", "--block-length 8"]),
        (
            smaller_block,
            DUAL.with_decode(replace(DUAL.decode, block_length=0)),
            [f"--block-length {n}" for n in (64, 32, 16, 8)],
        ),
        (shorter_context, DUAL, ["--context 256", "--context 192"]),
    ],
)
def test_the_variants_of_each_change(change: Change, before: Scenario, options: list[str]) -> None:
    variants = list(change(before))
    assert [variant.options for variant in variants] == options
    assert all(variant.scenario != before for variant in variants)
