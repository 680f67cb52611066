"""The torch module as a runner of steps; it shows the residual stream after each layer, too."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ...graphs import contract
from ...graphs.modules.step import StepModule
from ...runtime.arrays import Array
from ..onnx.unroll import hidden_name


@torch.inference_mode()
def run_module(step: StepModule, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return the module's outputs, then the residual after each layer `[B, Q, hidden]`, by name."""
    config, hidden = step.transformer.config, list[Array]()
    hooks = [
        layer.register_forward_hook(lambda _module, _inputs, output: hidden.append(output[0].numpy()))
        for layer in step.transformer.layers
    ]
    try:
        arrays = (inputs[spec.name] for spec in contract.inputs(config, "float32"))
        outputs = [value.numpy() for value in step(*map(torch.from_numpy, arrays))]
    finally:
        for hook in hooks:
            hook.remove()
    names = [spec.name for spec in contract.outputs(config, "float32", step.head.candidates)]
    names += [hidden_name(layer) for layer in range(config.layers)]
    return dict(zip(names, outputs + hidden, strict=True))
