"""What Polygraphy is given: types that its numpy lacks go through as bytes, and its failures come back as one line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from dllm_edge.export.parity.engine_runner import ContractSession, outside, polygraphy, profile_of, raw_runner
from dllm_edge.export.parity.examples import example
from dllm_edge.graphs.contract import Profile, TensorSpec
from dllm_edge.graphs.errors import DllmEdgeError

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
PROFILE = Profile(2, 3, 4, 2, targets=3)
SPECS = (
    [
        TensorSpec("input_ids", "int64", ("B", "Q")),
        TensorSpec("attention_mask", "bool", ("B", 1, "Q", "C + Q")),
        TensorSpec("target_ids", "int64", ("B", "R", "T")),
        TensorSpec("past", "bfloat16", ("B", "C")),
    ],
    [TensorSpec("topk_ids", "int64", ("B", "Q")), TensorSpec("new", "bfloat16", ("B", "C"))],
)


def step_inputs() -> dict[str, Any]:
    arrays = example(SPECS[0], PROFILE, 50, np.random.default_rng(0))
    return {
        spec.name: outside(array) if spec.dtype == "bfloat16" else array for spec, array in zip(SPECS[0], arrays, strict=True)
    }


def doubled(past: Any) -> Any:
    return (past.astype(BFLOAT16).astype(np.float32) * 2).astype(BFLOAT16).astype(np.float32)


def session() -> onnxruntime.InferenceSession:
    """`topk_ids` are the input ids, `new` is twice `past`, in bfloat16."""
    dtypes = {"int64": TensorProto.INT64, "bool": TensorProto.BOOL, "bfloat16": TensorProto.BFLOAT16}
    inputs, outputs = (
        [helper.make_tensor_value_info(one.name, dtypes[one.dtype], one.axes) for one in specs] for specs in SPECS
    )
    nodes = [
        helper.make_node("Identity", ["input_ids"], ["topk_ids"]),
        helper.make_node("Cast", ["past"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["wide", "wide"], ["twice"]),
        helper.make_node("Cast", ["twice"], ["new"], to=TensorProto.BFLOAT16),
    ]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def test_sizes_are_read_from_the_inputs() -> None:
    assert profile_of(step_inputs()) == PROFILE


def test_a_session_of_bfloat16() -> None:
    view = ContractSession(session(), SPECS)
    assert [(value.name, value.type) for value in view.get_inputs()][-1] == ("past", "tensor(float)")
    ids, new = view.run(None, step_inputs())
    assert np.array_equal(ids, step_inputs()["input_ids"])
    assert new.dtype == np.float32
    assert np.array_equal(new, doubled(step_inputs()["past"]))


class Plan:
    """Polygraphy's `TrtRunner` where it is asked for bytes: it finds them in its session, one byte too many."""

    def __init__(self) -> None:
        self.active = False

    def activate(self) -> None:
        self.active = True

    def deactivate(self) -> None:
        self.active = False

    def last_inference_time(self) -> float:
        return 0.5

    def infer(self, feed: Mapping[str, Any], check_inputs: bool, return_raw_buffers: bool) -> dict[str, Any]:
        assert self.active
        assert return_raw_buffers
        assert not check_inputs
        ids, past = feed["input_ids"], feed["past"]
        assert past.shape == (2, 4)
        twice = (past.array.view(BFLOAT16).astype(np.float32) * 2).astype(BFLOAT16).view(np.uint8)
        outputs = {"topk_ids": ids.array, "new": twice}
        return {name: SimpleNamespace(array=np.append(value, np.uint8(9))) for name, value in outputs.items()}


def test_a_plan_of_bfloat16_runs_through_the_comparator() -> None:
    plan = Plan()
    with polygraphy() as comparator:
        results = comparator.Comparator.run([raw_runner(plan, SPECS)], data_loader=[step_inputs()])
    outputs = results[0][1][0]
    assert np.array_equal(outputs["topk_ids"], step_inputs()["input_ids"])
    assert np.array_equal(outputs["new"], doubled(step_inputs()["past"]))
    assert not plan.active


def test_failures_are_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    incomplete = {name: array for name, array in step_inputs().items() if name != "past"}
    with pytest.raises(DllmEdgeError, match=r"^Polygraphy could not run the engine: .*past"), polygraphy() as comparator:
        comparator.Comparator.run([raw_runner(Plan(), SPECS)], data_loader=[incomplete])
    assert capfd.readouterr() == ("", "")


def test_without_polygraphy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polygraphy", None)
    with pytest.raises(DllmEdgeError, match=r"needs polygraphy .*: install it with pip install"), polygraphy():
        pass


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="needs tensorrt-rtx")
def test_plans_of_tensorrt_rtx_open_with_its_own_module() -> None:
    """In a process of its own: Polygraphy settles on a TensorRT when it is imported. Without a GPU, it ends at CUDA."""
    code = """
from dllm_edge.export.parity.engine_runner import plan_runner, polygraphy
from dllm_edge.runtime.engines.base import LoadedGraph
with polygraphy():
    runner = plan_runner(LoadedGraph("tensorrt-rtx", None), 3, ([], []))
    import polygraphy.backend.trt.runner as used
    print(used.trt.__name__, used.trt.ICudaEngine.__module__, runner.get_input_metadata is not None)
    runner.activate()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "tensorrt_rtx" in done.stdout, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("dllm_edge.graphs.errors.DllmEdgeError: Polygraphy could not")
