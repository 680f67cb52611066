"""The real CUDA provider over stubs, for every pair of family, flavour and weights: what runs where, and what a step calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from dllm_edge.runtime.engines.device.engine import DeviceEngine
from dllm_edge.runtime.engines.onnxruntime.cuda import left_on_host, open_cuda

from .....export.step_bundles import FAMILIES, FLAVOURS, FORMATS, write_step_bundle
from .....export.tensorrt.pairwise import pairwise
from .steps import BLOCK, counted, lanes
from .stub_cuda import StubCuda

pytestmark = pytest.mark.cuda_host
ON_DEVICE = ("launch", "fill", "copy")
CROSSING = {"upload": 1, "download": 1, "synchronise": 1}
CASES = pairwise([FAMILIES, FLAVOURS, tuple(FORMATS)])


@pytest.fixture(params=CASES, ids="-".join)
def engine(request: pytest.FixtureRequest, tmp_path: Path, cuda: StubCuda) -> DeviceEngine:
    family, flavour, weights = request.param
    dtype = FORMATS[weights].dtype
    computed = "float32" if weights in ("int4", "int8-int4") else dtype
    bundle = write_step_bundle(tmp_path, family, weights, flavour, twin=computed != dtype)
    if computed == dtype:
        return open_cuda(bundle, flavour=flavour)
    with pytest.warns(UserWarning, match="computing in float32"):
        return open_cuda(bundle, flavour=flavour)


def test_what_a_step_calls(engine: DeviceEngine, cuda: StubCuda) -> None:
    for session in engine.executor.sessions.values():  # type: ignore[attr-defined]
        assert left_on_host(session.get_provider_graph_assignment_info()) == []
    engine.records = False
    launched, recorded = lanes(engine, BLOCK), lanes(engine, BLOCK)
    *_, before, steady = counted(cuda, engine, BLOCK, launched, 4)
    assert before == steady
    assert {name: count for name, count in steady.items() if name not in ON_DEVICE} == CROSSING
    engine.records = True
    first, *steps = counted(cuda, engine, BLOCK, recorded, 3)
    assert {name: first.get("captured " + name) for name in ON_DEVICE} == {name: steady.get(name) for name in ON_DEVICE}
    assert (first["recording"], first["captured upload"], first["captured download"]) == (1, 1, 1)
    assert steps == [{"replay": 1, "synchronise": 1}] * 2
