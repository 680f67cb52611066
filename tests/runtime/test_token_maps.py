from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.tokenizer import BundleTokenizer
from dllm_edge.runtime.token_maps import map_tokens

from .numpy_engine import CONFIG

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


LETTERS = ["Ġ", *(chr(code) for code in range(33, 127))]


def byte_level(
    folder: Path, merges: list[tuple[str, str]], special: list[str], end: str, letters: list[str] = BYTES
) -> BundleTokenizer:
    """A byte-level tokenizer of those bytes and merges; `end` is its end of text."""
    tokens = [*letters, *("".join(pair) for pair in merges)]
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return saved(folder, tokenizer, special, end)


def metaspace(folder: Path, words: list[str], end: str) -> BundleTokenizer:
    """A SentencePiece-like one of single letters and some words, in which a space is ▁."""
    tokens = ["▁", *LETTERS[1:], *words]
    pieces = [(token, -10.0 if len(token) == 1 else -1.0) for token in tokens]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    return saved(folder, tokenizer, [], end)


def saved(folder: Path, tokenizer: Tokenizer, special: list[str], end: str) -> BundleTokenizer:
    folder.mkdir()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in (*special, end)])
    tokenizer.save(str(folder / "tokenizer.json"))
    size = tokenizer.get_vocab_size()
    config = replace(CONFIG, vocab_size=size + 3, mask_token_id=None, eos_token_ids=(tokenizer.get_vocab()[end],))
    return BundleTokenizer(folder, config, templated=False)


def test_the_same_vocabulary_is_itself(tmp_path: Path) -> None:
    """But for the mask token, of which the guide reads nothing; ids that no token has stay without one."""
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the")]
    decoded = byte_level(tmp_path / "decoded", merges, ["<|start|>"], "<|end|>")
    found = map_tokens(decoded, byte_level(tmp_path / "guide", merges, ["<|start|>"], "<|end|>"))
    size = decoded.tokenizer.get_vocab_size()
    assert found.single.tolist() == [*range(size), -1, -1, -1]
    assert not found.several


def test_tokens_are_matched_by_what_they_say(tmp_path: Path) -> None:
    """Other ids, other merges, another end of text; parts of characters by name."""
    decoded = byte_level(tmp_path / "decoded", [("t", "h"), ("th", "e"), ("Ġ", "the"), ("Ġ", "a")], [], "<|end|>")
    guide = byte_level(tmp_path / "guide", [("Ġ", "a"), ("h", "e"), ("t", "he")], ["<|start|>"], "</s>")
    found, mine, theirs = map_tokens(decoded, guide), decoded.tokenizer.get_vocab(), guide.tokenizer.get_vocab()
    for token in (*BYTES, "Ġa", "the"):
        assert found.single[mine[token]] == theirs[token]
    assert found.single[mine["<|end|>"]] == theirs["</s>"]
    assert found.several == {mine["th"]: [theirs["t"], theirs["h"]], mine["Ġthe"]: [theirs["Ġ"], theirs["the"]]}
    text = "the a than é"
    assert guide.decode(found.expanded(decoded.encode(text))) == text


def test_a_space_is_a_space_however_it_is_written(tmp_path: Path) -> None:
    decoded = byte_level(tmp_path / "decoded", [("t", "h"), ("th", "e"), ("Ġ", "the")], [], "<|end|>", LETTERS)
    guide = metaspace(tmp_path / "guide", ["▁the", "the"], "</s>")
    found, mine, theirs = map_tokens(decoded, guide), decoded.tokenizer.get_vocab(), guide.tokenizer.get_vocab()
    assert found.single[mine["Ġthe"]] == theirs["▁the"]
    assert found.single[mine["the"]] == theirs["the"]
    assert found.several[mine["th"]] == [theirs["t"], theirs["h"]]


def test_a_guide_of_another_alphabet_is_refused(tmp_path: Path) -> None:
    decoded = byte_level(tmp_path / "decoded", [], [], "<|end|>")
    words = Tokenizer(models.WordLevel({"a": 0, "東京": 1, "?": 2}, "?"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    with pytest.raises(
        DllmEdgeError, match=r"guide: its vocabulary has [0-9]+% of the decoded model's tokens: use a guide with"
    ):
        map_tokens(decoded, saved(tmp_path / "guide", words, [], "</s>"))
