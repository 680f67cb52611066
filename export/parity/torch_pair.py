"""A bundle's graphs on ONNX Runtime's CPU provider, held against the torch module in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...graphs.dtypes import DType
from ...graphs.errors import DllmEdgeError
from ...graphs.modules.step import StepModule
from ...runtime.arrays import Array
from ...runtime.bundle.bundle import Bundle
from ...runtime.bundle.manifest import GraphFile
from ...runtime.engines.onnxruntime.cpu import COMPUTABLE
from ...runtime.engines.open import open_engine
from ...runtime.generate import Model
from ..checkpoint.checkpoint import Checkpoint
from .differences import TOLERANCES
from .examples import PROFILES
from .graph_runner import graph_runner
from .reference import reference_step
from .report import Level
from .runner import LayerFinding, StepComparison
from .structure import check_structure
from .torch_engine import TorchEngine
from .torch_runner import run_module

VERSIONS = ("dllm-edge", "torch", "onnxruntime", "numpy")


class TorchPair:
    """A bundle, and the reference with the bundle's own weights or, to see an error of the export's, a checkpoint's.

    `checkpoint` is a Hugging Face folder. The reference takes 4 bytes of memory a weight beside the engine's own.
    """

    title, reference_title, subject_name = "ONNX Runtime on a CPU", "torch in float32", "ONNX Runtime"
    report_file = "validate.json"
    compute_dtype: DType = "float32"
    takes_all_sizes = True

    def __init__(self, path: Path, checkpoint: Path | None = None) -> None:
        self.path, self.checkpoint_path = path, checkpoint

    @cached_property
    def bundle(self) -> Bundle:
        return Bundle.open(self.path, verify=True)

    @cached_property
    def checkpoint(self) -> Checkpoint | None:
        return Checkpoint.open(self.checkpoint_path) if self.checkpoint_path else None

    @cached_property
    def step(self) -> StepModule:
        return reference_step(self.bundle, self.checkpoint)

    @cached_property
    def subject(self) -> Model:
        return Model(self.bundle, open_engine(self.bundle, "onnxruntime", "cpu"))

    @cached_property
    def reference(self) -> Model:
        return Model(self.bundle, TorchEngine(self.step))

    def check(self) -> None:
        bundle, checkpoint = self.bundle, self.checkpoint
        if checkpoint and checkpoint.config != bundle.config:
            raise DllmEdgeError(
                f"{self.checkpoint_path}: not the model in {self.path}: give the checkpoint that it was made from"
            )

    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in VERSIONS}

    def structure(self) -> Level:
        problems = check_structure(self.bundle)
        holds = ["names, axes, types, operators, hashes: as the contract has them"]
        return Level("structure", not problems, problems or holds)

    def comparisons(self) -> Sequence[StepComparison]:
        """One for each graph of the bundle, at a few profiles."""
        return [self._comparison(graph) for graph in self.bundle.manifest.graphs["step"]]

    def _comparison(self, graph: GraphFile) -> StepComparison:
        label = f"{graph.file} ({graph.flavour}, {graph.compute})"
        why = "" if graph.compute in COMPUTABLE else f"ONNX Runtime's CPU provider has no {graph.compute}"
        return StepComparison(label, graph.compute, PROFILES, partial(graph_runner, self.bundle, graph), why)

    def run_reference(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return run_module(self.step, inputs)

    def layers_json(self, findings: Sequence[LayerFinding]) -> dict[str, Any]:
        graphs = (graph for graph in self.bundle.manifest.graphs["step"] if graph.compute in COMPUTABLE)
        return {
            "graphs": {
                graph.file: finding.to_json() | {"tolerance": TOLERANCES[graph.compute]}
                for graph, finding in zip(graphs, findings, strict=True)
            }
        }
