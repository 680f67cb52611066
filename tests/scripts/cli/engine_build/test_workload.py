from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dllm_edge.graphs.contract import Profile
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.scripts.cli.engine_build.workload import Decodes, workload_of


def test_settings_go_to_the_systems_that_have_them(tiny_bundle: Callable[..., Path]) -> None:
    settings = {"gen_length": "16", "block_length": "8", "retention": "0.25"}
    decodes = Decodes(("fast-dllm-dual", "sparse-dllm"), settings, "48", 2)
    workload = workload_of(Bundle.open(tiny_bundle("llada")), decodes)
    assert {profile.batch for profile in workload.profiles} == {1, 2}
    assert Profile(1, 48, 2, 8) in workload.profiles
    assert Profile(2, 8, 48, 8) in workload.profiles
    assert workload.saliency
    assert workload.select
    with pytest.raises(DllmEdgeError, match="none of fast-dllm-dual has a setting 'retention'"):
        workload_of(Bundle.open(tiny_bundle("llada")), Decodes(("fast-dllm-dual",), settings, "48", 1))
