from __future__ import annotations

import re
from dataclasses import replace

import pytest

from dllm_edge.export.plan.decode import Decode
from dllm_edge.export.plan.devices import GB, described, find_device
from dllm_edge.export.plan.model import Precision, Subject
from dllm_edge.export.plan.remedies import Situation, remedies
from dllm_edge.export.plan.remedies import _formats as formats_of
from dllm_edge.export.plan.target import target_of
from dllm_edge.graphs.weight_formats import WeightFormat, WeightFormats

from .models import llada_8b, subject

DUAL = Decode("fast-dllm-dual", 2048)


def situation(device: str, decode: Decode, **changes: object) -> Situation:
    target = target_of(find_device(device), "tensorrt", None, desktop=False, swap=0)
    return Situation(subject(), decode, replace(target, **changes))  # type: ignore[arg-type]


def quantised(linear: str, head: str = "plain", embedding: str = "plain", group: int = 128) -> Subject:
    formats = WeightFormats(*(WeightFormat.named(name, group) for name in (linear, head, embedding)))
    return replace(subject(), precision=Precision("bfloat16", formats))


def test_every_remedy_fits_and_says_its_figure() -> None:
    swap, weights = (str(remedy) for remedy in remedies(situation("agx-orin-32gb", Decode("fast-dllm-dual", 2048)))[:2])
    assert re.fullmatch(r"--swap \d+: build takes 55\.1 of \d+\.\d GB", swap)
    assert re.fullmatch(r"--weights int4 --group 128: build takes \d+\.\d of 28\.0 GB", weights)


def test_float32_is_given_up_first() -> None:
    wide = replace(situation("h100", Decode("fast-dllm-dual", 4096, batch=16)), subject=subject(dtype="float32"))
    assert not wide.estimate().fits
    found = {remedy.change for remedy in remedies(wide)}
    assert "--dtype bfloat16" in found
    assert any(change.startswith("--batch") for change in found)


def test_retention_and_context_where_the_cache_is_too_much() -> None:
    tight = situation("h100", Decode("fast-dllm-dual", 4096, batch=28))
    assert not tight.estimate().fits
    found = {remedy.change.split()[0]: remedy for remedy in remedies(tight)}
    assert {"--weights", "--batch", "--context", "--systems"} <= set(found)
    longer = int(found["--context"].change.split()[1]) + 64
    assert not replace(tight, decode=replace(tight.decode, context=longer)).estimate().fits


def test_a_smaller_block_where_the_logits_are_too_much() -> None:
    config = replace(llada_8b(), layers=1)
    target = target_of(described(None, 5.8, None, None), "tensorrt", None, desktop=False, swap=0)
    tight = Situation(subject(config), Decode("fast-dllm-dual", 3000, gen_length=1024, block_length=1024), target)
    assert not tight.estimate().fits
    assert any(remedy.change.startswith("--block-length") for remedy in remedies(tight))


def test_swap_where_only_the_build_is_too_much() -> None:
    tight = situation("agx-orin-64gb", Decode("fast-dllm-dual", 2048), swap=0)
    tight = replace(tight, target=replace(tight.target, device=replace(tight.target.device, memory=50 * GB)))
    assert set(tight.estimate().over) == {"build"}
    swap = remedies(tight)[0]
    missing = tight.estimate().over["build"]
    assert missing <= int(swap.change.removeprefix("--swap ")) * GB < missing + GB
    assert any(remedy.change.startswith("--weights int4") for remedy in remedies(tight)[1:])


def test_smaller_formats_where_weights_are_integers_already() -> None:
    card = target_of(described(None, 10, None, None), "tensorrt", None, desktop=False, swap=0)
    tight = Situation(quantised("int8"), Decode("fast-dllm-dual", 2048), card)
    assert not tight.estimate().fits
    assert [remedy.change for remedy in remedies(tight)] == ["--weights int4 --group 128"]


TRIED = [("int8", "plain", "plain"), ("int4", "plain", "plain"), ("int4", "int8", "int8"), ("int4", "int4", "int8")]


@pytest.mark.parametrize(
    ("present", "device", "tried"),
    [
        (quantised("plain"), "l4", TRIED),
        (quantised("plain"), "thor", TRIED),
        (quantised("plain"), "orin-nx-16gb", [TRIED[1], TRIED[3]]),
        (quantised("int8"), "l4", TRIED[1:]),
        (quantised("int8", group=32), "l4", TRIED),
        (quantised("int8", "int8"), "orin-nx-16gb", [("int4", "int4", "plain"), TRIED[3]]),
        (quantised("plain", "int4"), "l4", [("int8", "int4", "plain"), ("int4", "int4", "plain"), TRIED[3]]),
        (quantised("int4", "int8", "int8"), "l4", TRIED[3:]),
        (quantised("int4", "int4", "int8"), "l4", []),
    ],
)
def test_the_formats_that_are_tried(present: Subject, device: str, tried: list[tuple[str, str, str]]) -> None:
    variants = [variant for _, variant in formats_of(replace(situation(device, DUAL), subject=present))]
    formats = [variant.subject.precision.formats for variant in variants]
    assert [(each.linear.name, each.head.name, each.embedding.name) for each in formats] == tried


def test_a_cpu_has_int8_on_every_jetson() -> None:
    target = target_of(find_device("orin-nano-8gb"), "onnxruntime", None, desktop=False, swap=0)
    first, _ = next(formats_of(Situation(subject(), DUAL, target)))
    assert first == "--weights int8 --group 128"


def test_changes_add_up_where_none_is_enough() -> None:
    (only,) = remedies(situation("orin-nx-16gb", Decode("fast-dllm-dual", 3000, batch=8)))
    assert only.figures.fits
    assert re.fullmatch(r"--weights int4 --group 128 .*--batch 2 --swap \d+", only.change)


def test_nothing_fits_what_is_far_too_small() -> None:
    assert remedies(situation("orin-nano-4gb", Decode("fast-dllm-dual", 2048))) == []


def test_a_group_that_divides_is_taken() -> None:
    odd = replace(llada_8b(), hidden_size=4128, intermediate_size=4128, heads=32, head_dim=128)
    target = target_of(find_device("rtx-3090"), "tensorrt", None, desktop=False, swap=0)
    tight = Situation(subject(odd), Decode("fast-dllm-dual", 4096, batch=6), target)
    assert not tight.estimate().fits
    assert any("--group 32" in remedy.change for remedy in remedies(tight))


@pytest.mark.parametrize("system", ["vanilla", "sparse-dllm"])
def test_what_fits_is_its_own_remedy_of_every_kind(system: str) -> None:
    assert all(remedy.figures.fits for remedy in remedies(situation("h200", Decode(system, 2048))))
