"""The registry of graphs: what every entry holds, and that a new one is all that its users need."""

from __future__ import annotations

import pytest

from dllm_edge.export.onnx.cache_operations import BODIES
from dllm_edge.graphs import contract
from dllm_edge.graphs.config import ModelConfig
from dllm_edge.graphs.contract import CACHE_OPERATIONS, GRAPHS, Graph, Profile, TensorSpec
from dllm_edge.graphs.families import family_of
from dllm_edge.runtime.engines.profiles import Workload

from ..tiny import config_json

SIZES = {"step": (2, 5, 7, 3, 4), "saliency": (9,), "select": (9, 4)}


@pytest.fixture
def config() -> ModelConfig:
    data = config_json("dream")
    return family_of(data).config(data)


def axes_of(specs: list[TensorSpec]) -> set[str]:
    return {part for spec in specs for axis in spec.axes if isinstance(axis, str) for part in axis.split(" + ")}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_size_gives_every_axis_a_length(name: str, config: ModelConfig) -> None:
    inputs, outputs = contract.interface(name, config, "float16", 32)
    sizes = GRAPHS[name].sizes(config, SIZES[name])
    assert axes_of(inputs + outputs) == sizes.keys()
    shapes = contract.input_shapes(name, config, "float16", SIZES[name])
    assert shapes == {spec.name: spec.sized(sizes) for spec in inputs}


def test_sizes_by_hand(config: ModelConfig) -> None:
    heads = 2 * config.layers * config.kv_heads
    assert contract.input_shapes("step", config, "float32", (2, 5, 7, 3, 4))["attention_mask"] == (2, 1, 5, 12)
    assert contract.input_shapes("saliency", config, "float32", (9,))["slots"][2] == 9
    assert contract.input_shapes("select", config, "float32", (9, 4))["places"] == (4 * heads,)


def test_cache_operations_have_a_body_each() -> None:
    assert (GRAPHS.keys() - {"step"}, tuple(BODIES)) == (set(CACHE_OPERATIONS), CACHE_OPERATIONS)


def test_a_workload_has_sizes_of_every_graph(config: ModelConfig) -> None:
    workload = Workload((Profile(2, 5, 7, 3, 4),), (9,), ((9, 4),))
    assert workload.sizes() == {name: [size] for name, size in SIZES.items()}
    assert workload.shapes(config, "float16").keys() == GRAPHS.keys()
    assert workload.shapes(config, "float16")["step"][0]["input_ids"] == (2, 5)


def test_another_graph_is_one_entry(config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Graph(
        lambda config, cache_dtype: [TensorSpec("rows", cache_dtype, ("N", config.head_dim))],
        lambda config, cache_dtype, _: [TensorSpec("sums", cache_dtype, ("N",))],
        lambda _, size: {"N": size[0]},
    )
    monkeypatch.setitem(GRAPHS, "sums", rows)
    inputs, outputs = contract.interface("sums", config, "float16", 32)
    assert ([spec.name for spec in inputs], [spec.dtype for spec in outputs]) == (["rows"], ["float16"])
    assert contract.input_shapes("sums", config, "float16", (6,)) == {"rows": (6, config.head_dim)}
