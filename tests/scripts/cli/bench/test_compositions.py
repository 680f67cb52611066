from __future__ import annotations

from dataclasses import replace

import pytest

from dllm_edge import DllmEdgeError
from dllm_edge.runtime.systems import SYSTEMS
from dllm_edge.scripts.cli.bench.compositions import (
    COMBINED,
    EXAMPLE,
    Composition,
    default_compositions,
    parse_composition,
    parse_compositions,
)

from ....runtime.numpy_engine import ENDLESS


def test_systems_with_settings() -> None:
    found = parse_compositions(" vanilla , streaming-dllm:retention=0.5 : unmask = factor,vanilla,fast-dllm-dual:threshold=1")
    assert found == [
        Composition("vanilla"),
        Composition("streaming-dllm", {"retention": 0.5, "unmask": "factor"}),
        Composition("fast-dllm-dual", {"threshold": 1.0}),
    ]


@pytest.mark.parametrize("text", [EXAMPLE, *COMBINED])
def test_a_label_is_what_was_given(text: str) -> None:
    assert parse_composition(text).label == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vanila", "unknown system 'vanila': did you mean 'vanilla'? choose one of vanilla"),
        ("", "--systems '' names no system: give one or more of vanilla, "),
        ("vanilla:", "--systems vanilla:: '' must be key=value, as in --systems streaming-dllm:retention"),
        ("vanilla:threshold", "--systems vanilla:threshold: 'threshold' must be key=value"),
        ("vanilla:=1", "'=1' must be key=value"),
        ("vanilla:treshold=0.9", "vanilla has no setting 'treshold'; did you mean 'threshold'? it has"),
        ("vanilla:retention=0.5", "vanilla has no setting 'retention'"),
        ("vanilla:threshold=7", "threshold=7.0: must be between 0 and 1.01"),
        ("vanilla:unmask=treshold", "unmask=treshold: did you mean 'threshold'? must be one of"),
        ("vanilla,fast-dllm-dual unmask=factor", "unknown system 'fast-dllm-dual unmask=factor'"),
    ],
)
def test_what_is_none_is_told(text: str, message: str) -> None:
    with pytest.raises(DllmEdgeError) as error:
        parse_compositions(text)
    assert message in str(error.value)


def test_by_default_all_that_fit_and_what_is_combined_of_them() -> None:
    both = [one.label for one in default_compositions(ENDLESS)]
    assert both == [*SYSTEMS, *COMBINED]
    causal = [one.label for one in default_compositions(replace(ENDLESS, attention="block-causal", attention_block=8))]
    fitting = [name for name, system in SYSTEMS.items() if "block-causal" in system.attention]
    assert causal == [*fitting, *(text for text in COMBINED if text.partition(":")[0] in fitting)]
