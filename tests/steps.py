"""Steps of random content for a graph and for the torch module that it was exported from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from dllm_edge.export.checkpoint.checkpoint import Checkpoint, load_transformer
from dllm_edge.graphs import contract
from dllm_edge.graphs.config import ModelConfig
from dllm_edge.graphs.contract import Profile
from dllm_edge.graphs.dtypes import DTYPES, DType
from dllm_edge.graphs.modules.sampler_head import SamplerHead
from dllm_edge.graphs.modules.step import StepModule
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.bundle.manifest import GraphFile
from dllm_edge.runtime.engines.onnxruntime.cpu import INTEGER_WEIGHTS

Array = NDArray[Any]
Tensors = dict[str, Array]

# Batches, an empty cache, several targets, one row, a refresh: none the size of the export's example.
PROFILES = (
    Profile(3, 6, 9, 2, 1),
    Profile(1, 4, 0, 4, 2),
    Profile(2, 1, 1, 1, 1),
    Profile(1, 17, 40, 5, 3),
    Profile(2, 12, 0, 12, 1),
)


def random_inputs(config: ModelConfig, profile: Profile, seed: int = 0) -> Tensors:
    """Positions with gaps, repeats and out of order; a mask that hides four of ten keys, but no row from itself."""
    generator = np.random.default_rng(seed)
    inputs: Tensors = {}
    for spec in contract.inputs(config, "float32"):
        shape = spec.shape(profile)
        if spec.name == "position_ids":
            inputs[spec.name] = generator.integers(0, 300, shape)
        elif spec.name == "logit_rows":
            inputs[spec.name] = generator.integers(0, profile.queries, shape)
        elif spec.dtype == "int64":
            inputs[spec.name] = generator.integers(0, config.vocab_size, shape)
        elif spec.dtype == "bool":
            inputs[spec.name] = generator.random(shape) < 0.6
            rows = np.arange(profile.queries)
            inputs[spec.name][:, :, rows, profile.capacity + rows] = True
        else:
            inputs[spec.name] = generator.standard_normal(shape).astype(np.float32)
    return inputs


@dataclass
class Reference:
    """The step in torch, in float32, over the weights of a checkpoint."""

    step: StepModule
    names: list[str]

    @classmethod
    def of(cls, bundle: Bundle, checkpoint: Path, compute: torch.dtype = torch.float32) -> Reference:
        forbidden = list(bundle.manifest.forbidden)
        with torch.device("meta"):
            step = StepModule(bundle.config, forbidden, "fused", compute)
        step.head = SamplerHead(bundle.config.vocab_size, forbidden, step.head.candidates)
        step.transformer = load_transformer(Checkpoint.open(checkpoint), "fused", compute)
        outputs = contract.outputs(bundle.config, "float32", bundle.manifest.candidates)
        return cls(step.eval(), [spec.name for spec in outputs])

    def __call__(self, inputs: Tensors) -> Tensors:
        with torch.inference_mode():
            outputs = self.step(*(torch.from_numpy(array) for array in inputs.values()))
        return {name: output.numpy() for name, output in zip(self.names, outputs, strict=True)}


class Graph:
    """A bundle's graph on ONNX Runtime."""

    def __init__(self, bundle: Bundle, graph: GraphFile, optimise: bool = True) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, 1
        options.add_session_config_entry(*INTEGER_WEIGHTS)
        if not optimise:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.session = onnxruntime.InferenceSession(str(bundle.path / graph.file), options, providers=["CPUExecutionProvider"])
        self.inputs = contract.inputs(bundle.config, graph.compute)
        self.names = [spec.name for spec in contract.outputs(bundle.config, graph.compute, bundle.manifest.candidates)]

    def __call__(self, inputs: Tensors) -> Tensors:
        feed = {spec.name: inputs[spec.name].astype(DTYPES[spec.dtype].numpy) for spec in self.inputs}
        return dict(zip(self.names, self.session.run(self.names, feed), strict=True))


def difference(actual: Tensors, expected: Tensors) -> float:
    """The largest difference over all outputs but the ids, which may swap where two logits are equal."""
    assert actual.keys() == expected.keys()
    values = (name for name in expected if name != "topk_ids")
    return max(float(np.abs(actual[name].astype(np.float64) - expected[name]).max(initial=0.0)) for name in values)


def graph_of(bundle: Bundle, flavour: str, compute: DType) -> GraphFile:
    return bundle.graph([flavour], compute)
