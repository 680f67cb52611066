"""Parity level 2: the same inputs and caches through the torch module and through each graph, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import torch

from ...graphs import contract
from ...graphs.modules.step import Step
from ...runtime.arrays import Array
from ...runtime.bundle.bundle import Bundle
from ...runtime.bundle.manifest import GraphFile
from ...runtime.engines.host import NUMPY_DTYPES
from ...runtime.engines.onnxruntime.cpu import COMPUTABLE, INTEGER_WEIGHTS
from ..onnx.unroll import hidden_name
from .differences import TOLERANCES, first_bad, relative_difference
from .examples import PROFILES, SEED, example
from .report import Level, finite


@dataclass(frozen=True)
class Comparison:
    """The worst output of one graph: its name, and its difference as `TOLERANCES` counts it."""

    worst: str
    difference: float
    first_bad: str | None


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
    kinds = [NUMPY_DTYPES[spec.dtype] for spec in contract.inputs(bundle.config, graph.compute)]
    differences = dict.fromkeys(names, 0.0)
    for profile in PROFILES:
        arrays = example(inputs, profile, bundle.config.vocab_size, generator)
        feed = {spec.name: array.astype(kind) for spec, array, kind in zip(inputs, arrays, kinds, strict=True)}
        for name, actual, wanted in zip(names, session.run(names, feed), reference_outputs(step, arrays), strict=True):
            differences[name] = max(differences[name], relative_difference(actual, wanted))
    # Equal logits may come in another order; `topk_logits` holds their values.
    del differences["topk_ids"]
    worst = max(differences, key=lambda name: differences[name])
    return Comparison(worst, differences[worst], first_bad(differences, TOLERANCES[graph.compute]))


def check_layers(bundle: Bundle, step: Step, tell: Callable[[float], None]) -> Level:
    """Compare each graph of the bundle that a CPU runs."""
    level = Level("layers", True, [], {"graphs": {}})
    graphs = bundle.manifest.graphs["step"]
    for index, graph in enumerate(graphs):
        tell(index / len(graphs))
        label = f"{graph.file} ({graph.flavour}, {graph.compute})"
        if graph.compute not in COMPUTABLE:
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
