"""The graphs of the cache operations, against what engines in host memory compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from dllm_edge.export.onnx.cache_operations import write_operation
from dllm_edge.graphs.families import family_of
from dllm_edge.runtime.engines.base import Lanes
from dllm_edge.runtime.engines.host import HostCache, HostCaches

from ...tiny import config_json

SOURCE, TARGET = 11, 5


@pytest.fixture(params=["float32", "float16"])
def caches(request: pytest.FixtureRequest) -> HostCaches:
    data = config_json("dream")
    return HostCaches(family_of(data).config(data), request.param, 32)


def filled(caches: HostCaches, capacity: int) -> HostCache:
    cache = caches.allocate(1, capacity)
    cache.tensors[:] = np.random.default_rng(3).standard_normal(cache.tensors.shape)
    return cache


def session(folder: Path, name: str, caches: HostCaches) -> onnxruntime.InferenceSession:
    write_operation(folder / "operation.onnx", name, caches.config, caches.cache_dtype)
    return onnxruntime.InferenceSession(folder / "operation.onnx", providers=["CPUExecutionProvider"])


def test_saliency(caches: HostCaches, tmp_path: Path) -> None:
    config, cache = caches.config, filled(caches, SOURCE)
    queries = np.random.default_rng(4).standard_normal((config.layers, config.kv_heads, config.head_dim)).astype(np.float32)
    feed = {"slots": cache.tensors[:, 0], "queries": queries}
    (scores,) = session(tmp_path, "saliency", caches).run(["scores"], feed)
    expected = caches.saliency(Lanes(cache, 0, 1), queries)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


def test_select(caches: HostCaches, tmp_path: Path) -> None:
    config, source, target = caches.config, filled(caches, SOURCE), caches.allocate(1, TARGET)
    generator = np.random.default_rng(5)
    keep = np.stack([np.sort(generator.choice(SOURCE, TARGET, replace=False)) for _ in range(config.layers)])
    caches.select(Lanes(source, 0, 1), keep, Lanes(target, 0, 1))
    tensors = np.arange(2 * config.layers)[:, None, None] * config.kv_heads + np.arange(config.kv_heads)[:, None]
    places = tensors * SOURCE + keep.repeat(2, 0)[:, None]
    feed = {"rows": source.tensors.reshape(-1, config.head_dim), "places": places.reshape(-1)}
    (kept,) = session(tmp_path, "select", caches).run(["kept"], feed)
    np.testing.assert_array_equal(kept, target.tensors.reshape(-1, config.head_dim))
