from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open

from dllm_edge.export.plan.model import PlannedModel, Precision
from dllm_edge.export.plan.weights import layer_parameters, read_weight_bytes, stored_weight_bytes
from dllm_edge.graphs.weight_formats import WeightFormat, WeightFormats

from ...tiny import FAMILIES

ITEM = {"F32": 4, "F16": 2, "BF16": 2}


def tensor_bytes(bundle: Path) -> dict[str, int]:
    """Bytes of each tensor that the bundle's weight files hold."""
    found = {}
    for file in (bundle / "weights").glob("*.safetensors"):
        with safe_open(file, framework="np") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                part = tensors.get_slice(name)
                count = 1
                for side in part.get_shape():
                    count *= side
                found[name] = count * ITEM[part.get_dtype()]
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_those_of_the_bundle(family: str, tiny_bundle: Callable[..., Path]) -> None:
    bundle = tiny_bundle(family, "bfloat16")
    model, held = PlannedModel.read(bundle), tensor_bytes(bundle)
    assert model.precision.dtype == "bfloat16"
    assert stored_weight_bytes(model.config, model.precision) == sum(held.values())
    tied = model.config.tie_embeddings
    assert read_weight_bytes(model.config, model.precision) == sum(held.values()) - (0 if tied else held["embedding.weight"])
    outer = held["embedding.weight"] + (0 if tied else held["lm_head.weight"])
    assert layer_parameters(model.config) == (sum(held.values()) - outer) // 2


def test_a_tied_embedding_is_read_whole(tiny_bundle: Callable[..., Path]) -> None:
    model = PlannedModel.read(tiny_bundle("qwen3", "float32", tie=True))
    assert read_weight_bytes(model.config, model.precision) == stored_weight_bytes(model.config, model.precision)
    apart = Precision("float32", WeightFormats(head=WeightFormat("int8", 32)))
    matrix = model.config.vocab_size * model.config.hidden_size
    assert stored_weight_bytes(model.config, apart) - read_weight_bytes(model.config, apart) == 4 * matrix
