from __future__ import annotations

from dataclasses import replace

import pytest

from dllm_edge.export.plan.decode import Decode
from dllm_edge.export.plan.devices import find_device
from dllm_edge.export.plan.plan import decodes_of, make_plan
from dllm_edge.export.plan.target import target_of
from dllm_edge.graphs.errors import DllmEdgeError

from .models import planned_model, quantised


def test_a_row_for_each_system_at_each_context() -> None:
    like = Decode("", 0, gen_length=64, block_length=16, retention=0.25, batch=2)
    decodes = decodes_of(["vanilla", "sparse-dllm"], [256, 512], like)
    assert decodes == [Decode(name, length, 64, 16, 0.25, 2) for name in ("vanilla", "sparse-dllm") for length in (256, 512)]
    rows = make_plan(planned_model(), target_of(find_device("l4")), decodes).to_json()["plans"]
    assert [(row["system"], row["context"]) for row in rows] == [(decode.system, decode.context) for decode in decodes]
    assert ["retention" in row for row in rows] == [False, False, True, True]
    assert not any("tokens_per_second" in row for row in rows)


def test_remedies_are_for_what_does_not_fit() -> None:
    plan = make_plan(planned_model(), target_of(find_device("agx-orin-32gb")), [Decode("vanilla", 512)], 2.0)
    (row,) = plan.rows
    assert not plan.fits
    assert row.remedies
    data = row.to_json(plan.tokens_per_forward)
    assert data["remedies"] == [str(remedy) for remedy in row.remedies]
    assert data["tokens_per_second"] == pytest.approx(2 * data["steps_per_second"])
    assert make_plan(planned_model(), target_of(find_device("h200")), [Decode("vanilla", 512)]).rows[0].remedies == []


def test_formats_that_do_not_divide_the_model_are_refused() -> None:
    odd = quantised("int4")
    odd = replace(odd, config=replace(odd.config, hidden_size=4128))
    with pytest.raises(DllmEdgeError, match="do not divide into groups of 128"):
        make_plan(odd, target_of(find_device("l4")), [])
