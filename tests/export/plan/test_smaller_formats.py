from __future__ import annotations

from dataclasses import replace

import pytest

from dllm_edge.export.plan.decode import Decode
from dllm_edge.export.plan.devices import find_device
from dllm_edge.export.plan.model import PlannedModel
from dllm_edge.export.plan.scenario import Scenario
from dllm_edge.export.plan.smaller_formats import smaller_formats
from dllm_edge.export.plan.target import target_of

from .models import planned_model, quantised, scenario

DUAL = Decode("fast-dllm-dual", 2048)


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
def test_the_formats_that_are_tried(present: PlannedModel, device: str, tried: list[tuple[str, str, str]]) -> None:
    variants = smaller_formats(replace(scenario(device, DUAL), model=present))
    formats = [variant.scenario.model.precision.formats for variant in variants]
    assert [(each.linear.name, each.head.name, each.embedding.name) for each in formats] == tried


def test_a_cpu_has_int8_on_every_jetson() -> None:
    target = target_of(find_device("orin-nano-8gb"), engine="onnxruntime")
    first = next(smaller_formats(Scenario(planned_model(), DUAL, target))).options
    assert first == "--weights int8 --group 128"
