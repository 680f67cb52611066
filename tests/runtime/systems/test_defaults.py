from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.systems.defaults import settings_of

from ..bundle.written import write_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    write_bundle(tmp_path)
    return Bundle.open(tmp_path)


@pytest.mark.parametrize(
    ("system", "changes", "warning"),
    [
        (
            "vanilla",
            {"threshold": "0.8"},
            "threshold is not read: threshold, .* and .* read it, .* unmask=quota: set unmask=threshold",
        ),
        (
            "vanilla",
            {"factor": 2.0, "unmask": "threshold"},
            "factor is not read: factor reads it, .* unmask=threshold: set unmask=factor",
        ),
        (
            "streaming-dllm",
            {"mask_ratio": "block", "unmask": "quota"},
            "mask_ratio is not read: dynamic-threshold reads it, .* unmask=quota: set unmask=dynamic-threshold",
        ),
        (
            "fast-dllm-dual",
            {"steps": 0},
            "steps is not read: quota, .* and .* read it, .*: set unmask=quota with it",
        ),
    ],
)
def test_a_setting_that_the_rule_does_not_read(bundle: Bundle, system: str, changes: dict[str, Any], warning: str) -> None:
    with pytest.warns(UserWarning, match=warning):
        settings_of(bundle, system, changes)


def test_a_rule_that_the_system_does_not_decode_by(bundle: Bundle) -> None:
    assert settings_of(bundle, "saber", {}).unmask == "saber"
    with pytest.raises(DllmEdgeError, match=r"^wino does not decode by unmask=quota: use unmask=wino or saber$"):
        settings_of(bundle, "wino", {"unmask": "quota"})
    with pytest.raises(DllmEdgeError, match=r"^conv does not decode by unmask=wino: use unmask=conv$"):
        settings_of(bundle, "conv", {"unmask": "wino"})
    with pytest.raises(DllmEdgeError, match=r"^saber does not decode by unmask=quota: use unmask=saber$"):
        settings_of(bundle, "saber", {"unmask": "quota"})


@pytest.mark.parametrize(
    ("system", "changes"),
    [
        ("vanilla", {"threshold": 0.8, "unmask": "threshold"}),
        ("fast-dllm-dual", {"threshold": 0.8}),
        ("fast-dllm-dual", {"refresh": 2, "temperature": 0.5}),
        ("sparse-dllm", {"retention": 0.5}),
        ("vanilla", {}),
    ],
)
def test_settings_that_are_read(bundle: Bundle, system: str, changes: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        settings_of(bundle, system, changes)
