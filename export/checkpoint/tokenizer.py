"""The tokenizer and chat template of a Hugging Face folder, also where there is no `tokenizer.json` (Dream, Qwen2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from ...graphs.config import ModelConfig
from ...graphs.errors import DllmEdgeError
from ...graphs.schema import true_or_false, whole_number
from ...runtime.bundle.foreign_errors import reported
from ...runtime.bundle.manifest import CHAT_TEMPLATE, TOKENIZER
from ...runtime.bundle.tokenizer import read_text
from ..json_file import read_object
from .backtraces import without_backtraces

# The split of Qwen2's tokenizer: contractions, words, single digits, punctuation, line ends, spaces.
QWEN2_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2_CLASSES = ("DreamTokenizer", "Qwen2Tokenizer", "Qwen2TokenizerFast")
AGAIN = "download it again"
CONVERT = "load it with transformers and write tokenizer.json with save_pretrained"
FLAGS = ("special", "normalized", "lstrip", "rstrip", "single_word")


def tokenizer_of(folder: Path) -> tuple[Tokenizer, str | None]:
    """Return the tokenizer of a checkpoint folder and its chat template (None where it has none).

    Raises `DllmEdgeError` where the files are missing, malformed or such that only Python code could read.
    """
    settings = read_object(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    if (folder / TOKENIZER).is_file():
        text = read_text(folder / TOKENIZER, AGAIN)
        with without_backtraces(), reported(f"{folder / TOKENIZER}: cannot be read", AGAIN):
            tokenizer = Tokenizer.from_str(text)
    else:
        tokenizer = qwen2_tokenizer(folder, settings)
    with without_backtraces(), reported(f"{folder}: the added tokens cannot be read", AGAIN):
        add_tokens(tokenizer, folder, settings)
    return tokenizer, chat_template(folder, settings)


def undefined_ids(tokenizer: Tokenizer, config: ModelConfig) -> list[int]:
    """Return the ids below `config.vocab_size` that no token has: rows that only pad the embedding, never to be generated."""
    defined = set(tokenizer.get_vocab(with_added_tokens=True).values())
    return [token for token in range(config.vocab_size) if token not in defined]


def qwen2_tokenizer(folder: Path, settings: Mapping[str, Any]) -> Tokenizer:
    """Return a byte-level BPE tokenizer with Qwen2's split, from `vocab.json` and `merges.txt`."""
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    if not (vocabulary.is_file() and merges.is_file()):
        raise DllmEdgeError(f"{folder}: there is no tokenizer.json, and no vocab.json with merges.txt: {CONVERT}")
    tokenizer_class = settings.get("tokenizer_class")
    if tokenizer_class not in QWEN2_CLASSES:
        raise DllmEdgeError(
            f"{folder}/tokenizer_config.json: tokenizer_class is {tokenizer_class!r}; without tokenizer.json only "
            f"{', '.join(QWEN2_CLASSES)} can be read: {CONVERT}"
        )
    with without_backtraces(), reported(f"{folder}: vocab.json and merges.txt cannot be read", "download both"):
        tokenizer = Tokenizer(models.BPE.from_file(str(vocabulary), str(merges)))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def add_tokens(tokenizer: Tokenizer, folder: Path, settings: Mapping[str, Any]) -> None:
    """Add the tokens that `tokenizer_config.json` and `added_tokens.json` have beyond those of the tokenizer itself."""
    defined = tokenizer.get_added_tokens_decoder()
    for identifier, token in sorted(added_tokens(folder, settings).items()):
        if identifier in defined and defined[identifier].content == token.content:
            continue
        tokenizer.add_tokens([token])
        assigned = tokenizer.token_to_id(token.content)
        if assigned != identifier:
            raise DllmEdgeError(
                f"{folder}: the added token {token.content!r} should have the id {identifier} and gets {assigned}: "
                f"the tokenizer's files do not belong together; {CONVERT}"
            )


def added_tokens(folder: Path, settings: Mapping[str, Any]) -> dict[int, AddedToken]:
    """Return the added tokens by id: of `added_tokens_decoder`, and of `added_tokens.json` where that has more."""
    tokens: dict[int, AddedToken] = {}
    try:
        if (folder / "added_tokens.json").is_file():
            special = special_names(settings)
            for content, identifier in read_object(folder / "added_tokens.json").items():
                flags = {"special": content in special, "normalized": content not in special}
                tokens[whole_number(identifier, "the id")] = AddedToken(content, **flags)
        for identifier, entry in (settings.get("added_tokens_decoder") or {}).items():
            flags = {name: true_or_false(entry[name], name) for name in FLAGS if name in entry}
            tokens[whole_number(json.loads(identifier), "the id")] = AddedToken(entry["content"], **flags)
    except (AttributeError, DllmEdgeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise DllmEdgeError(f"{folder}: the added tokens are malformed ({error}): {AGAIN}") from error
    return tokens


def special_names(settings: Mapping[str, Any]) -> set[str]:
    """Return the texts that `tokenizer_config.json` names as special: `eos_token` and the like, and the additional ones."""
    named = [value for key, value in settings.items() if key.endswith("_token")]
    additional = settings.get("additional_special_tokens") or []
    if not isinstance(additional, list):
        raise ValueError("additional_special_tokens is no list")
    named += additional
    texts = [value.get("content") if isinstance(value, dict) else value for value in named]
    return {text for text in texts if isinstance(text, str)}


def chat_template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """Return `chat_template.jinja`, or the template in `tokenizer_config.json`: of named ones `default`, or the first."""
    file = folder / CHAT_TEMPLATE
    if file.is_file():
        return read_text(file, AGAIN)
    template = settings.get("chat_template")
    if isinstance(template, list) and template:
        try:
            named = {entry["name"]: entry["template"] for entry in template}
        except (KeyError, TypeError) as error:
            raise DllmEdgeError(f"{folder}/tokenizer_config.json: malformed list of chat templates") from error
        template = named.get("default", next(iter(named.values())))
    if template is not None and not (isinstance(template, str) and is_unicode(template)):
        raise DllmEdgeError(f"{folder}/tokenizer_config.json: chat_template is no text and no list of named templates")
    return template


def is_unicode(text: str) -> bool:
    """Return whether `text` can be written: JSON may hold halves of surrogate pairs."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
