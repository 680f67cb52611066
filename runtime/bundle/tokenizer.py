"""Text to token ids and back with a bundle's own tokenizer and chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenizers import Tokenizer

from ...graphs.config import ModelConfig
from ...graphs.errors import DllmEdgeError
from .chat import render
from .manifest import CHAT_TEMPLATE, TOKENIZER


class BundleTokenizer:
    """The tokenizer of a bundle folder. `chat_template` is None where the bundle has none."""

    def __init__(self, folder: Path, config: ModelConfig, templated: bool = True) -> None:
        """Read the tokenizer, and the chat template if the bundle has one: `templated` says whether its manifest names it."""
        self.folder, self.config = folder, config
        file, template = folder / TOKENIZER, folder / CHAT_TEMPLATE
        try:
            self.tokenizer = Tokenizer.from_str(file.read_text(encoding="utf-8"))
            self.chat_template = template.read_text(encoding="utf-8") if templated and template.exists() else None
        except FileNotFoundError as error:
            raise DllmEdgeError(f"{folder}: there is no {TOKENIZER}: export the checkpoint again") from error
        except Exception as error:  # tokenizers raises nothing narrower
            reason = " ".join(str(error).split())
            raise DllmEdgeError(f"{folder}: the tokenizer cannot be read ({reason}): export the checkpoint again") from error
        # A tokenizer.json may cut or pad as its training did; a prompt is never to be changed silently.
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`; special tokens written in it are recognised, none are added."""
        try:
            return list(self.tokenizer.encode(text, add_special_tokens=False).ids)
        except (TypeError, UnicodeError) as error:
            raise DllmEdgeError("the prompt is not valid text: it must be a string without unpaired surrogates") from error

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Return the text of token ids, without ids that no token has, and without special tokens unless they are asked for."""
        return str(self.tokenizer.decode([int(token) for token in ids], skip_special_tokens=skip_special_tokens))

    def chat(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return the prompt of chat messages, each with `role` and `content`, up to where the assistant is to answer."""
        if self.chat_template is None:
            raise DllmEdgeError(f"{self.folder}: this bundle has no chat template: give a plain prompt")
        eos = self.config.eos_token_ids[0] if self.config.eos_token_ids else None
        return render(
            self.chat_template, messages, bos_token=self.token_text(self.config.bos_token_id), eos_token=self.token_text(eos)
        )

    def token_text(self, token: int | None) -> str:
        """Return the text of a token as templates write it; empty for None and for ids that no token has."""
        return "" if token is None else str(self.tokenizer.id_to_token(token) or "")
