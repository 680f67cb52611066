from __future__ import annotations

from dllm_edge.graphs.joined_weights import stored_weights, whole_shape

SHAPES: dict[str, tuple[int, ...]] = {
    "embedding.weight": (9, 8),
    "layers.0.query_norm.weight": (4,),
    "layers.0.up.weight": (6, 8),
    "layers.0.value.bias": (4,),
    "layers.0.query.bias": (8,),
    "layers.0.key.bias": (4,),
    "layers.0.gate.weight": (6, 8),
    "layers.1.gate.weight": (6, 8),
    "layers.1.up.weight": (6, 8),
}


def test_weights_of_the_same_input_are_one_in_a_fixed_order() -> None:
    stored = stored_weights(SHAPES, joined=True)
    assert {name: (list(members), whole_shape(members)) for name, members in stored.items()} == {
        "embedding.weight": (["embedding.weight"], (9, 8)),
        "layers.0.query_norm.weight": (["layers.0.query_norm.weight"], (4,)),
        "layers.0.gate_up.weight": (["layers.0.gate.weight", "layers.0.up.weight"], (12, 8)),
        "layers.0.query_key_value.bias": ([f"layers.0.{name}.bias" for name in ("query", "key", "value")], (16,)),
        "layers.1.gate_up.weight": (["layers.1.gate.weight", "layers.1.up.weight"], (12, 8)),
    }


def test_weights_apart_are_themselves() -> None:
    assert stored_weights(SHAPES, joined=False) == {name: {name: shape} for name, shape in SHAPES.items()}
