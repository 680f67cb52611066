from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dllm_edge.graphs.families import family_of
from dllm_edge.graphs.parameters import parameter_shapes
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.profiles import Workload
from dllm_edge.scripts.benchmarks.engine import SHAPE
from dllm_edge.scripts.benchmarks.gpu import bundles
from dllm_edge.scripts.benchmarks.gpu.job import Job
from dllm_edge.scripts.checkpoints.random_llada import SCALES
from dllm_edge.scripts.gpu_bench import SHAPES

TINY = {
    "bos_token_id": 1021,
    "eos_token_id": 1022,
    "mask_token_id": 1023,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 1024,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_of_a_family_that_is_timed(
    shape: str, tmp_path: Path, workloads: list[Workload], result_of: Callable[[Job], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written for a shape, at tiny sizes."""
    monkeypatch.setattr("dllm_edge.scripts.benchmarks.gpu.bundles.SCALES", dict.fromkeys(SCALES, SCALES["tiny"]))
    monkeypatch.setattr(bundles, "DREAM", bundles.DREAM | TINY)
    path = bundles.bundle_of(tmp_path, shape, "float32", lambda _stage, _share: None)
    for part in ("step", "host"):
        assert result_of(Job(part, "tensorrt", shape, "float32", str(path), (256,)))
    assert len(workloads) == 2


def test_the_1_5b_shape_has_the_published_sizes() -> None:
    config, published = (family_of(data).config(data) for data in (bundles.DREAM, SHAPE))
    assert (config.attention, published.attention) == ("bidirectional", "block-causal")
    assert parameter_shapes(config) == parameter_shapes(published)


def test_bundles_are_made_once(tmp_path: Path, demo_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "CHECKPOINT", demo_checkpoint)
    stages: list[str] = []
    for shape, compute in (("tiny", "bfloat16"), ("tiny", "float16"), ("demo", "float16")):
        path = bundles.bundle_of(tmp_path, shape, compute, lambda stage, _share: stages.append(stage))
        assert Bundle.open(path).manifest.compute == compute
    assert list(dict.fromkeys(stages))[:2] == ["write tiny", "export tiny in bfloat16"]
    assert Bundle.open(tmp_path / "demo-float16.bundle").task == "arithmetic"
    stages.clear()
    bundles.bundle_of(tmp_path, "tiny", "float16", lambda stage, _share: stages.append(stage))
    assert stages == []
