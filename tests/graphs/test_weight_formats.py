from __future__ import annotations

import pytest

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.graphs.weight_formats import PLAIN, WeightFormat, WeightFormats, stored_bytes, weight_bytes

INT8, INT4 = WeightFormat("int8", 32), WeightFormat("int4", 64)


def config(tie: bool = False, hidden: int = 64, intermediate: int = 128) -> ModelConfig:
    return ModelConfig(
        family="llama", vocab_size=100, hidden_size=hidden, intermediate_size=intermediate, layers=2, heads=4, kv_heads=2,
        head_dim=16, rope_theta=1e4, norm_eps=1e-5, max_positions=64, attention="causal", eos_token_ids=(0,),
        tie_embeddings=tie,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (PLAIN, 96 * 128 * 2),
        (INT8, 96 * 128 + 96 * 4 * 2),
        (INT4, 96 * 128 // 2 + 96 * 2 * 2),
        (WeightFormat("int4", 128), 96 * 128 // 2 + 96 * 2),
    ],
)
def test_bytes_of_a_weight(stored: WeightFormat, expected: int) -> None:
    assert stored_bytes((96, 128), "bfloat16", stored) == expected


def test_bytes_of_a_model_are_those_of_its_parts() -> None:
    linear = 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 128)
    norms, matrix = 5 * 64, 100 * 64
    assert weight_bytes(config(), "float32") == 4 * (linear + norms + 2 * matrix)
    formats = WeightFormats(INT4, INT8, INT8)
    assert weight_bytes(config(), "float16", formats) == (
        linear // 2 + linear // 64 * 2 + 2 * norms + 2 * (matrix + matrix // 32 * 2)
    )


@pytest.mark.parametrize(
    ("formats", "copies"),
    [
        (WeightFormats(), 1),
        (WeightFormats(linear=INT4), 1),
        (WeightFormats(head=INT8), 2),
        (WeightFormats(embedding=INT8), 2),
        (WeightFormats(head=INT8, embedding=INT8), 2),
    ],
)
def test_a_tied_head_has_a_copy_of_its_own_where_either_is_quantised(formats: WeightFormats, copies: int) -> None:
    shapes = formats.shapes(config(tie=True))
    assert [name for name in ("embedding.weight", "lm_head.weight") if name in shapes][:copies] == [
        name for name in shapes if name in ("embedding.weight", "lm_head.weight")
    ]
    assert formats.of("lm_head.weight", (100, 64)) == formats.head
    assert formats.of("layers.0.query.weight", (64, 64)) == formats.linear
    assert formats.of("norm.weight", (64,)) == formats.of("layers.1.query.bias", (64,)) == PLAIN


def test_formats_survive_json() -> None:
    formats = WeightFormats(INT4, INT8, INT8)
    assert WeightFormats.from_json(formats.to_json()) == formats
    assert WeightFormats.from_json({}) == WeightFormats()
    assert (WeightFormats().quantised, formats.quantised) == (False, True)


def test_a_group_that_does_not_divide_is_refused_with_those_that_do() -> None:
    WeightFormats(INT4).check(config())
    WeightFormats(INT4).check(config(hidden=64, intermediate=192))
    with pytest.raises(DllmEdgeError, match=r"down\.weight has 96 inputs, .* into groups of 64: use --group 32$"):
        WeightFormats(INT4).check(config(intermediate=96))
    with pytest.raises(DllmEdgeError, match=r"query\.weight has 72 inputs, .*: no group fits all weights, leave them plain"):
        WeightFormats(INT8).check(config(hidden=72))
    WeightFormats(head=INT4).check(config(intermediate=96))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WeightFormat("int3", 32), "unknown weight format 'int3': choose one of plain, int8, int4"),
        (lambda: WeightFormat.named("int4", 48), "groups of 48: choose one of 32, 64, 128"),
        (lambda: WeightFormat("plain", 32), "plain weights have no groups"),
        (lambda: WeightFormats(embedding=INT4), "an embedding cannot be int4: use --embedding-weights int8 or plain"),
    ],
)
def test_formats_that_are_none(make: type, message: str) -> None:
    with pytest.raises(DllmEdgeError, match=message):
        make()
