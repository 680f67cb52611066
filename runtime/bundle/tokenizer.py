"""Text to token ids and back with a bundle's own tokenizer and chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from tokenizers import Tokenizer

from ...graphs.config import ModelConfig
from ...graphs.errors import DllmEdgeError
from .chat.render import check_messages, render
from .foreign_errors import reported
from .manifest import CHAT_TEMPLATE, TOKENIZER
from .regular_file import read_small
from .special_tokens import SpecialTokens, joined_contents, texts_of

# What the longest tokens of the vocabularies in use have, runs of spaces: no longer prompt can fit.
BYTES_PER_POSITION = 128
# The largest tokenizer.json in use has 33 million bytes.
LARGEST = 256 << 20
EXPORT_AGAIN = "export the checkpoint again"


class BundleTokenizer:
    """The tokenizer of a bundle folder. `chat_template` is None where the bundle has none."""

    def __init__(self, folder: Path, config: ModelConfig, templated: bool = True) -> None:
        """Read the tokenizer, and the chat template if the bundle has one: `templated` says whether its manifest names it."""
        self.folder, self.config = folder, config
        file, template = folder / TOKENIZER, folder / CHAT_TEMPLATE
        self.tokenizer = parse_tokenizer(read_text(file, EXPORT_AGAIN), file, EXPORT_AGAIN)
        self.chat_template = read_text(template, EXPORT_AGAIN) if templated and template.exists() else None
        self.special = SpecialTokens(self.tokenizer, config)
        self.most_bytes = BYTES_PER_POSITION * config.max_positions

    def encode(self, text: str, special_tokens: bool = False) -> list[int]:
        """Return the token ids of `text`; none are added.

        Special tokens written in it are recognised with `special_tokens`, and refused by name without.
        """
        self._check_size([text])
        with tokenising():
            if not special_tokens:
                self.special.refuse_in([text])
            return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Return the text of token ids, without ids that no token has, and without special tokens unless they are asked for."""
        with reported("the tokens have no text", EXPORT_AGAIN):
            return str(self.tokenizer.decode([int(token) for token in ids], skip_special_tokens=skip_special_tokens))

    def chat(self, messages: Sequence[Mapping[str, str]], special_tokens: bool = False) -> str:
        """Return the prompt of chat messages, each with `role` and `content`, up to where the assistant is to answer.

        Special tokens in the messages' own texts are refused by name, unless `special_tokens` allows them.
        """
        if self.chat_template is None:
            raise DllmEdgeError(f"{self.folder}: this bundle has no chat template: give a plain prompt")
        check_messages(messages)
        texts = list(texts_of(messages))
        self._check_size(texts)
        if not special_tokens:
            with tokenising():
                self.special.refuse_in([*texts, *joined_contents(messages)])
        eos = self.config.eos_token_ids[0] if self.config.eos_token_ids else None
        tokens = {"bos_token": self.token_text(self.config.bos_token_id), "eos_token": self.token_text(eos)}
        return render(self.chat_template, messages, tokens, self.most_bytes)

    def token_text(self, token: int | None) -> str:
        """Return the text of a token as templates write it; empty for None and for ids that no token has."""
        return "" if token is None else str(self.tokenizer.id_to_token(token) or "")

    def _check_size(self, texts: Sequence[str]) -> None:
        """Raise `DllmEdgeError` where `texts` are no text, or more than any prompt that fits the model."""
        try:
            size = sum(len(text.encode("utf-8")) for text in texts)
        except (AttributeError, UnicodeError) as error:
            raise DllmEdgeError("the prompt is not valid text: it must be a string without unpaired surrogates") from error
        if size > self.most_bytes:
            raise DllmEdgeError(
                f"the prompt has {size:,} bytes, this model takes {self.most_bytes:,} at most "
                f"({self.config.max_positions:,} positions of {BYTES_PER_POSITION} bytes): shorten the prompt"
            )


def tokenising() -> AbstractContextManager[None]:
    """Raise what the tokenizers library raises of a prompt as a `DllmEdgeError`."""
    return reported("the prompt cannot be tokenised", "change the text, or give token ids")


def parse_tokenizer(text: str, file: Path, remedy: str) -> Tokenizer:
    """Return the tokenizer that `text`, the content of a `tokenizer.json`, describes; raises `DllmEdgeError`.

    The file may cut or pad as its training did; a prompt is never to be changed silently.
    """
    with reported(f"{file}: the tokenizer cannot be read", remedy):
        tokenizer = Tokenizer.from_str(text)
        tokenizer.no_truncation()
        tokenizer.no_padding()
    return tokenizer


def read_text(file: Path, remedy: str) -> str:
    """Return the text of a file; raises `DllmEdgeError` where it is missing, unreadable or not UTF-8."""
    try:
        return read_small(file, LARGEST).decode()
    except FileNotFoundError as error:
        raise DllmEdgeError(f"{file.parent}: there is no {file.name}: {remedy}") from error
    except OSError as error:
        raise DllmEdgeError(f"{file}: cannot be read ({error.strerror}): check its permissions") from error
    except UnicodeError as error:
        raise DllmEdgeError(f"{file}: is not UTF-8 ({error}): {remedy}") from error
