"""Engines built by TensorRT-RTX for GPUs that are not there: built and looked at, never run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import pytest

from dllm_edge.export.onnx.operators import operator_problems
from dllm_edge.export.tensorrt.build import build_engine, graph_jobs
from dllm_edge.export.tensorrt.compilation import Compilation, prepare
from dllm_edge.export.tensorrt.options import BuildOptions
from dllm_edge.graphs import contract
from dllm_edge.graphs.contract import TensorSpec
from dllm_edge.runtime.bundle.bundle import WEIGHTS, Bundle
from dllm_edge.runtime.engines.profiles import Workload
from dllm_edge.runtime.engines.tensorrt.engine_folder import check_engine
from dllm_edge.runtime.engines.tensorrt.library import Library

from .cases import EVERY, FEW, WORKLOADS
from .pairwise import Row

StepBundle = Callable[[str, str, str], Bundle]
TYPES = {"int64": "INT64", "bool": "BOOL", "float32": "FLOAT", "float16": "HALF", "bfloat16": "BF16"}


@pytest.mark.parametrize("row", FEW, ids="-".join)
def test_engines_in_which_every_pair_meets(row: Row, rtx: Library, step_bundle: StepBundle) -> None:
    build_and_inspect(row, rtx, step_bundle)


@pytest.mark.engines
@pytest.mark.parametrize("row", sorted(EVERY), ids="-".join)
def test_every_engine(row: Row, rtx: Library, step_bundle: StepBundle) -> None:
    build_and_inspect(row, rtx, step_bundle)


def build_and_inspect(row: Row, rtx: Library, step_bundle: StepBundle) -> None:
    family, flavour, weights, target, workload_name = row
    bundle, workload = step_bundle(family, weights, flavour), WORKLOADS[workload_name]
    compilation = Compilation(bundle, rtx, (target,), BuildOptions(flavour=flavour))
    inspect_operators(compilation, workload)
    inspect_networks(compilation, workload)
    built = build_engine(compilation, workload)
    engine, fingerprint = built.engine, built.engine.fingerprint
    assert built.fresh
    assert engine.path == bundle.path / "engines" / f"tensorrt-rtx-{rtx.version}-{target}"
    assert (fingerprint.flavour, fingerprint.compute_capabilities) == (flavour, (target,))
    assert fingerprint.flags.decomposable == (flavour == "fused" and weights == "float32")
    assert set(fingerprint.plans) == {f"{name}.plan" for name in workload.shapes(bundle.config, fingerprint.compute)}
    check_engine(bundle, engine)
    stored = sum(record.size for name, record in bundle.manifest.files.items() if name.startswith(WEIGHTS))
    assert fingerprint.plans["step.plan"].size > stored // 2
    inspect_engine_files(compilation, workload, built.engine.engine_file)


def inspect_operators(compilation: Compilation, workload: Workload) -> None:
    """The graphs use what TensorRT takes, in the dtypes that it takes."""
    bundle = compilation.bundle
    for job in graph_jobs(compilation, workload):
        model = onnx.load(str(bundle.path / job.graph.file), load_external_data=False)
        assert list(operator_problems(model, job.graph.flavour)) == []


def inspect_networks(compilation: Compilation, workload: Workload) -> None:
    """What TensorRT made of each graph has the contract's names and dtypes, and one profile of exactly each shape."""
    bundle = compilation.bundle
    for job in graph_jobs(compilation, workload):
        shapes = workload.shapes(bundle.config, job.graph.compute)[job.name]
        prepared = prepare(compilation, job)
        network = prepared.network
        inputs, outputs = contract.interface(job.name, bundle.config, job.graph.compute, bundle.manifest.candidates)
        assert described([network.get_input(index) for index in range(network.num_inputs)]) == expected(inputs)
        assert described([network.get_output(index) for index in range(network.num_outputs)]) == expected(outputs)
        assert prepared.config.num_optimization_profiles == len(shapes)
        for profile, wanted in zip(prepared.profiles, shapes, strict=True):
            for spec in inputs:
                assert [tuple(shape) for shape in profile.get_shape(spec.name)] == [wanted[spec.name]] * 3


def inspect_engine_files(compilation: Compilation, workload: Workload, engine_file: Callable[[str], Any]) -> None:
    """Without a GPU an engine file does not open, but the names of its inputs and outputs can be read in it."""
    bundle = compilation.bundle
    for job in graph_jobs(compilation, workload):
        content = engine_file(job.name).read_bytes()
        inputs, outputs = contract.interface(job.name, bundle.config, job.graph.compute, bundle.manifest.candidates)
        assert [spec.name for spec in (*inputs, *outputs) if spec.name.encode() not in content] == []


def described(tensors: list[Any]) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(tensor.name, tensor.dtype.name, tuple(tensor.shape)) for tensor in tensors]


def expected(specs: list[TensorSpec]) -> list[tuple[str, str, tuple[int, ...]]]:
    axes = {spec.name: tuple(axis if isinstance(axis, int) else -1 for axis in spec.axes) for spec in specs}
    return [(spec.name, TYPES[spec.dtype], axes[spec.name]) for spec in specs]
