"""Special tokens that a prompt's own text would become: those that steer a model, which only a chat template may write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer

from ...graphs.config import ModelConfig
from ...graphs.errors import DllmEdgeError

SWITCH = "allow special tokens in prompts (special_tokens=True, --special-tokens)"


class SpecialTokens:
    """The added tokens that the tokenizer calls special, or that the model's configuration names.

    Other added tokens (Qwen's `<think>`) are words by their authors' choice, and text may hold them.
    """

    def __init__(self, tokenizer: Tokenizer, config: ModelConfig) -> None:
        self.tokenizer, self.mask = tokenizer, config.mask_token_id
        named = {config.mask_token_id, config.bos_token_id, *config.eos_token_ids}
        added = tokenizer.get_added_tokens_decoder()
        special = {identifier: token for identifier, token in added.items() if token.special or identifier in named}
        # A token of spaces alone would stand in every text.
        self.texts = {identifier: str(token.content) for identifier, token in special.items() if token.content.strip()}
        # Normalising can make a token of what is not its text: then only the tokenizer can tell.
        self.may_be_disguised = tokenizer.normalizer is not None and any(token.normalized for token in special.values())

    def refuse_in(self, texts: Sequence[str]) -> None:
        """Raise `DllmEdgeError` where any of `texts` would become a special token, alone or as a part of a prompt."""
        for text in texts:
            found = self._first_in(text)
            if found is not None:
                remedies = ["leave it out", *([] if found == self.mask else [SWITCH])]
                raise DllmEdgeError(
                    f"the prompt contains the special token {self.texts[found]!r}, which only the chat template writes: "
                    + ", or ".join(remedies)
                )

    def _first_in(self, text: str) -> int | None:
        """Return the id of a special token that `text` would become, or None."""
        written = (identifier for identifier, token in self.texts.items() if token in text)
        disguised = self.tokenizer.encode(text, add_special_tokens=False).ids if self.may_be_disguised else ()
        return next(written, next((identifier for identifier in disguised if identifier in self.texts), None))


def texts_of(value: Any) -> Iterator[str]:
    """Yield all strings within what is made of mappings and sequences, in their order and at any depth.

    Names are among them, since templates may write these. What holds itself has no end: JSON refuses it (`check_messages`).
    """
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, Mapping):
            pending += [each for item in part.items() for each in item][::-1]
        elif isinstance(part, Sequence):
            pending += part[::-1]


def joined_contents(messages: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the contents of chat messages as one text, as a template may put them together with nothing between."""
    contents = [message["content"] for message in messages]
    return ["".join(contents), "".join(content.strip() for content in contents)]
