from __future__ import annotations

from dllm_edge.graphs.weight_formats import WeightFormat, WeightFormats
from dllm_edge.scripts.cli.plan.options import FormatOptions


def test_a_format_that_is_not_given_is_the_models_own() -> None:
    own = WeightFormats(WeightFormat("int4", 64), WeightFormat("int8", 64))
    assert FormatOptions().instead_of(own) is own
    assert FormatOptions(group=128).instead_of(own) == WeightFormats(WeightFormat("int4", 128), WeightFormat("int8", 128))
    assert FormatOptions(head_weights="plain").instead_of(own) == WeightFormats(WeightFormat("int4", 64))
    assert FormatOptions(weights="plain").instead_of(own) == WeightFormats(head=WeightFormat("int8", 64))
