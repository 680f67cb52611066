"""Parity level 2: the same inputs and caches through the torch module and through each graph, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from ...graphs import contract
from ...graphs.contract import DType, Profile, TensorSpec
from ...graphs.step import Step
from ...runtime.bundle import Bundle
from ...runtime.engines.host import NUMPY_TYPES
from ...runtime.manifest import GraphFile
from .report import Level

Array = NDArray[Any]

PROFILES = (Profile(1, 9, 0, 4), Profile(2, 5, 12, 3, targets=3), Profile(1, 33, 64, 33))
SEED = 20
# Largest difference allowed, as a share of the tensor's largest magnitude (at least 1). float32: sums in another order.
# float16: 2^-11 a rounding, grown over the layers and over keys and values that are themselves rounded.
TOLERANCES: dict[DType, float] = {"float32": 1e-4, "float16": 3e-2}


@dataclass(frozen=True)
class Comparison:
    """The worst output of one graph: its name, and its difference as `TOLERANCES` counts it."""

    worst: str
    difference: float
    first_bad: str | None


def example(specs: list[TensorSpec], profile: Profile, vocabulary: int, generator: np.random.Generator) -> list[Array]:
    """Random inputs that the contract allows: any positions, any visibility in which every row sees itself."""
    arrays: list[Array] = []
    for spec in specs:
        shape, kind = spec.shape(profile), NUMPY_TYPES[spec.dtype]
        if spec.name == "position_ids":
            value: Array = generator.integers(0, 2 * profile.queries + profile.capacity, shape)
        elif spec.name == "logit_rows":
            value = generator.integers(0, profile.queries, shape)
        elif spec.dtype == "int64":
            value = generator.integers(0, vocabulary, shape)
        elif spec.dtype == "bool":
            value = generator.random(shape) < 0.7
            value[:, 0, np.arange(profile.queries), profile.capacity + np.arange(profile.queries)] = True
        elif spec.name == "saliency_weights":
            value = np.full(shape, 1 / profile.queries)
        else:
            value = generator.standard_normal(shape) * 0.5
        arrays.append(value.astype(kind))
    return arrays


def compare(step: Step, bundle: Bundle, graph: GraphFile) -> Comparison:
    """Run one graph and the module on random inputs at `PROFILES`."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(bundle.path / graph.file), options, providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(SEED)
    inputs = contract.inputs(bundle.config, "float32")
    outputs = contract.outputs(bundle.config, "float32", bundle.manifest.candidates)
    differences: dict[str, float] = {}
    for profile in PROFILES:
        arrays = example(inputs, profile, bundle.config.vocab_size, generator)
        with torch.inference_mode():
            expected = [value.numpy() for value in step(*(torch.from_numpy(array) for array in arrays))]
        kinds = [NUMPY_TYPES[spec.dtype] for spec in contract.inputs(bundle.config, graph.compute)]
        feed = {spec.name: array.astype(kind) for spec, array, kind in zip(inputs, arrays, kinds, strict=True)}
        for spec, actual, wanted in zip(outputs, session.run(None, feed), expected, strict=True):
            if spec.name == "topk_ids":
                continue  # equal logits may come in another order; `topk_logits` holds the values
            scale = max(1.0, float(np.abs(wanted).max(initial=0)))
            difference = float(np.abs(actual.astype(np.float32) - wanted).max(initial=0)) / scale
            differences[spec.name] = max(differences.get(spec.name, 0.0), difference if np.isfinite(difference) else np.inf)
    # Layers first, in their order: what is wrong in one is wrong in all that follow, and in the head.
    ordered = sorted(differences, key=lambda name: not name.startswith("new_key_values"))
    bad = next((name for name in ordered if differences[name] > TOLERANCES[graph.compute]), None)
    worst = max(differences, key=lambda name: differences[name])
    return Comparison(worst, differences[worst], bad)


def check_layers(bundle: Bundle, step: Step, tell: Callable[[float], None]) -> Level:
    """Compare each graph of the bundle that a CPU runs."""
    level = Level("layers", True, [], {"graphs": {}})
    graphs = bundle.manifest.graphs["step"]
    for index, graph in enumerate(graphs):
        tell(index / len(graphs))
        label = f"{graph.file} ({graph.flavour}, {graph.compute})"
        if graph.compute not in TOLERANCES:
            level.lines.append(f"{label}: not run, ONNX Runtime's CPU provider has no {graph.compute}")
            continue
        found, allowed = compare(step, bundle, graph), TOLERANCES[graph.compute]
        level.data["graphs"][graph.file] = vars(found) | {"tolerance": allowed}
        level.passed &= found.first_bad is None
        verdict = f"largest difference {found.difference:.1e} at {found.worst} (allowed {allowed:.0e})"
        level.lines.append(f"{label}: {verdict}" + (f"; first bad output {found.first_bad}" if found.first_bad else ""))
    return level
