"""Parity level 2: the same inputs and caches through the torch module and through each graph, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from ...graphs import contract
from ...graphs.contract import DType, Profile, TensorSpec
from ...graphs.step import Step
from ...runtime.bundle import Bundle
from ...runtime.engines.host import NUMPY_TYPES
from ...runtime.engines.onnxruntime import INTEGER_WEIGHTS
from ...runtime.manifest import GraphFile
from ..unroll import hidden_name
from .report import Level, finite

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


def session_with_hidden_states(bundle: Bundle, graph: GraphFile) -> tuple[onnxruntime.InferenceSession, list[str]]:
    """The graph with the residual after each layer as further outputs, and the names of these."""
    model = onnx.load(bundle.path / graph.file, load_external_data=False)
    names = [hidden_name(layer) for layer in range(bundle.config.layers)]
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry(*INTEGER_WEIGHTS)
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(bundle.path.resolve()))
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]), names


@torch.inference_mode()
def reference_outputs(step: Step, arrays: list[Array]) -> list[Array]:
    """The module's outputs, then the residual after each layer."""
    hidden: list[Array] = []
    hooks = [
        layer.register_forward_hook(lambda _module, _inputs, output: hidden.append(output[0].numpy()))
        for layer in step.transformer.layers
    ]
    try:
        outputs = [value.numpy() for value in step(*(torch.from_numpy(array) for array in arrays))]
    finally:
        for hook in hooks:
            hook.remove()
    return outputs + hidden


def compare(step: Step, bundle: Bundle, graph: GraphFile) -> Comparison:
    """Run one graph and the module on random inputs at `PROFILES`."""
    session, hidden = session_with_hidden_states(bundle, graph)
    generator = np.random.default_rng(SEED)
    inputs = contract.inputs(bundle.config, "float32")
    names = [spec.name for spec in contract.outputs(bundle.config, "float32", bundle.manifest.candidates)] + hidden
    kinds = [NUMPY_TYPES[spec.dtype] for spec in contract.inputs(bundle.config, graph.compute)]
    differences = dict.fromkeys(names, 0.0)
    for profile in PROFILES:
        arrays = example(inputs, profile, bundle.config.vocab_size, generator)
        feed = {spec.name: array.astype(kind) for spec, array, kind in zip(inputs, arrays, kinds, strict=True)}
        for name, actual, wanted in zip(names, session.run(names, feed), reference_outputs(step, arrays), strict=True):
            differences[name] = max(differences[name], relative_difference(actual, wanted))
    # Equal logits may come in another order; `topk_logits` holds their values.
    del differences["topk_ids"]
    bad = next((name for name in sorted(differences, key=_depth) if differences[name] > TOLERANCES[graph.compute]), None)
    worst = max(differences, key=lambda name: differences[name])
    return Comparison(worst, differences[worst], bad)


def relative_difference(actual: Array, wanted: Array) -> float:
    """Largest difference as a share of the largest magnitude (at least 1); infinite where something is not a number."""
    scale = max(1.0, float(np.abs(wanted).max(initial=0)))
    difference = float(np.abs(actual.astype(np.float32) - wanted).max(initial=0)) / scale
    return difference if np.isfinite(difference) else np.inf


def _depth(name: str) -> float:
    """Where in the graph an output comes from: what is wrong in one layer is wrong in all that follow, and in the head."""
    parts = name.split(".")
    if name.startswith("new_key_values"):
        return int(parts[1])
    return int(parts[1]) + 0.5 if parts[-1] == "hidden" else np.inf


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
        level.data["graphs"][graph.file] = {
            "worst": found.worst,
            "difference": finite(found.difference),
            "first_bad": found.first_bad,
            "tolerance": allowed,
        }
        level.passed &= found.first_bad is None
        verdict = f"largest difference {found.difference:.1e} at {found.worst} (allowed {allowed:.0e})"
        level.lines.append(f"{label}: {verdict}" + (f"; first bad output {found.first_bad}" if found.first_bad else ""))
    return level
