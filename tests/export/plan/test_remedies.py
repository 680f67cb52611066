from __future__ import annotations

import re
from dataclasses import replace

import pytest

from dllm_edge.export.plan.decode import Decode
from dllm_edge.export.plan.devices import GB, describe_device, find_device
from dllm_edge.export.plan.estimate import estimate
from dllm_edge.export.plan.remedies import remedies
from dllm_edge.export.plan.scenario import Scenario
from dllm_edge.export.plan.target import target_of

from .models import llada_8b, planned_model, quantised, scenario


def test_every_remedy_fits_and_says_its_figure() -> None:
    swap, weights = (str(remedy) for remedy in remedies(scenario("agx-orin-32gb", Decode("fast-dllm-dual", 2048)))[:2])
    assert re.fullmatch(r"--swap \d+: build takes 55\.1 of \d+\.\d GB", swap)
    assert re.fullmatch(r"--weights int4 --group 128: build takes \d+\.\d of 28\.0 GB", weights)


def test_float32_is_given_up_first() -> None:
    wide = replace(scenario("h100", Decode("fast-dllm-dual", 4096, batch=16)), model=planned_model(dtype="float32"))
    assert not estimate(wide).fits
    found = {remedy.options for remedy in remedies(wide)}
    assert "--dtype bfloat16" in found
    assert any(options.startswith("--batch") for options in found)


def test_retention_and_context_where_the_cache_is_too_much() -> None:
    tight = scenario("h100", Decode("fast-dllm-dual", 4096, batch=28))
    assert not estimate(tight).fits
    found = {remedy.options.split()[0]: remedy for remedy in remedies(tight)}
    assert {"--weights", "--batch", "--context", "--systems"} <= set(found)
    longer = int(found["--context"].options.split()[1]) + 64
    assert not estimate(tight.with_decode(replace(tight.decode, context=longer))).fits


def test_a_smaller_block_where_the_logits_are_too_much() -> None:
    config = replace(llada_8b(), layers=1)
    target = target_of(describe_device(memory_gb=5.8))
    tight = Scenario(planned_model(config), Decode("fast-dllm-dual", 3000, gen_length=1024, block_length=1024), target)
    assert not estimate(tight).fits
    assert any(remedy.options.startswith("--block-length") for remedy in remedies(tight))


def test_swap_where_only_the_build_is_too_much() -> None:
    tight = scenario("agx-orin-64gb", Decode("fast-dllm-dual", 2048), swap_bytes=0)
    tight = replace(tight, target=replace(tight.target, device=replace(tight.target.device, memory=50 * GB)))
    assert set(estimate(tight).missing_bytes) == {"build"}
    swap = remedies(tight)[0]
    missing = estimate(tight).missing_bytes["build"]
    assert missing <= int(swap.options.removeprefix("--swap ")) * GB < missing + GB
    assert any(remedy.options.startswith("--weights int4") for remedy in remedies(tight)[1:])


def test_smaller_formats_where_weights_are_integers_already() -> None:
    card = target_of(describe_device(memory_gb=10))
    tight = Scenario(quantised("int8"), Decode("fast-dllm-dual", 2048), card)
    assert not estimate(tight).fits
    assert [remedy.options for remedy in remedies(tight)] == ["--weights int4 --group 128"]


def test_changes_add_up_where_none_is_enough() -> None:
    (only,) = remedies(scenario("orin-nx-16gb", Decode("fast-dllm-dual", 3000, batch=8)))
    assert only.estimate.fits
    assert re.fullmatch(r"--weights int4 --group 128 .*--batch 2 --swap \d+", only.options)


def test_nothing_fits_what_is_far_too_small() -> None:
    assert remedies(scenario("orin-nano-4gb", Decode("fast-dllm-dual", 2048))) == []


def test_a_group_that_divides_is_taken() -> None:
    odd = replace(llada_8b(), hidden_size=4128, intermediate_size=4128, heads=32, head_dim=128)
    target = target_of(find_device("rtx-3090"))
    tight = Scenario(planned_model(odd), Decode("fast-dllm-dual", 4096, batch=6), target)
    assert not estimate(tight).fits
    assert any("--group 32" in remedy.options for remedy in remedies(tight))


@pytest.mark.parametrize("system", ["vanilla", "sparse-dllm"])
def test_what_fits_is_its_own_remedy_of_every_kind(system: str) -> None:
    assert all(remedy.estimate.fits for remedy in remedies(scenario("h200", Decode(system, 2048))))
