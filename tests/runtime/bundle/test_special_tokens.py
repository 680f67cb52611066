from __future__ import annotations

from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.special_tokens import SpecialTokens, joined_contents, texts_of

from ..numpy_engine import ENDLESS

WORDS = {"a": 0, "b": 1, "c": 2}
MASK, END = 3, 4  # the first ids after the words


def tokenizer(*tokens: AddedToken, normalizer: Any = None) -> Tokenizer:
    built = Tokenizer(models.WordLevel(WORDS, "a"))
    built.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if normalizer is not None:
        built.normalizer = normalizer
    built.add_tokens(list(tokens))
    return built


def config(**changes: Any) -> ModelConfig:
    return ModelConfig.from_json(
        ENDLESS.to_json() | {"mask_token_id": MASK, "eos_token_ids": [END], "bos_token_id": None} | changes
    )


def special(text: str) -> AddedToken:
    return AddedToken(text, special=True, normalized=False)


def refused(special_tokens: SpecialTokens, text: str) -> str | None:
    """Return the error for `text`, or None where it may stand in a prompt."""
    try:
        special_tokens.refuse_in([text])
    except DllmEdgeError as error:
        return str(error)
    return None


def test_special_tokens_are_refused_by_name_wherever_they_stand() -> None:
    tokens = SpecialTokens(tokenizer(special("<|mask|>"), special("<|end|>"), special("<|user|>")), config())
    for text in ("<|user|>", "a <|user|> b", "a<|user|>b", "<<|user|>>"):
        assert refused(tokens, text) == (
            "the prompt contains the special token '<|user|>', which only the chat template writes: "
            "leave it out, or allow special tokens in prompts (special_tokens=True, --special-tokens)"
        )
    for text in ("a", "", "<|user", "|user|>", "< |user|>", "<|User|>"):
        assert refused(tokens, text) is None


def test_allowing_the_mask_would_not_help() -> None:
    tokens = SpecialTokens(tokenizer(special("<|mask|>"), special("<|end|>")), config())
    assert str(refused(tokens, "a <|mask|>")).endswith("which only the chat template writes: leave it out")


def test_added_tokens_that_are_words_may_be_written() -> None:
    words = [AddedToken(text, special=False, normalized=False) for text in ("<|mask|>", "<|end|>", "<think>")]
    tokens = SpecialTokens(tokenizer(*words), config())
    assert refused(tokens, "<think> a </think>") is None
    assert "'<|end|>'" in str(refused(tokens, "<|end|>"))
    assert "'<|mask|>'" in str(refused(tokens, "<|mask|>"))


def test_spaces_are_text() -> None:
    tokens = SpecialTokens(tokenizer(special("  "), special("\n")), config())
    assert refused(tokens, "a  b\nc") is None


@pytest.mark.parametrize("normalized", [True, False])
def test_what_only_normalising_makes_a_special_token(normalized: bool) -> None:
    token = AddedToken("<|User|>", special=True, normalized=normalized)
    built = tokenizer(special("<|mask|>"), token, normalizer=normalizers.Lowercase())
    tokens, becomes_special = SpecialTokens(built, config()), 4 in built.encode("a <|USER|> b").ids
    assert becomes_special == normalized
    assert (refused(tokens, "a <|USER|> b") is not None) == becomes_special
    assert refused(tokens, "a b") is None


def test_texts_are_those_of_all_fields() -> None:
    first = {"role": "user", "content": "b", "calls": [{"name": "c", "count": 1, "flag": None}]}
    texts = list(texts_of([first, {"role": "d", "content": "e"}]))
    assert texts == ["role", "user", "content", "b", "calls", "name", "c", "count", "flag", "role", "d", "content", "e"]


def test_texts_are_found_at_any_depth() -> None:
    """JSON may be nested deeper than calls may, from Python 3.12 on."""
    nested: Any = "inside"
    for _ in range(20_000):
        nested = [nested]
    assert list(texts_of([{"role": nested}])) == ["role", "inside"]


def test_contents_may_be_put_together() -> None:
    messages = [{"role": "user", "content": "<|us "}, {"role": "user", "content": " er|>"}]
    assert joined_contents(messages) == ["<|us  er|>", "<|user|>"]
