from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dllm_edge.graphs.families import family_of
from dllm_edge.graphs.modules.transformer import Transformer
from dllm_edge.graphs.parameters import parameter_count, parameter_shapes

from ..tiny import config_json

BIASES = {"query_key_value_bias": True, "output_bias": True, "feed_forward_bias": True}


@pytest.mark.parametrize("changes", [{}, BIASES, {"query_key_norm": True, "tie_embeddings": True}])
def test_they_are_those_of_the_module(changes: dict[str, Any]) -> None:
    data = config_json("llama")
    config = replace(family_of(data).config(data), **changes)
    shapes, module = parameter_shapes(config), Transformer(config)
    assert shapes == {name: tuple(weight.shape) for name, weight in module.state_dict().items()}
    assert parameter_count(shapes) == sum(parameter.numel() for parameter in module.parameters())
