"""Trying a tokenizer before it is exported: what would fail at somebody's prompt fails at the export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer

from ...graphs.config import ModelConfig
from ...graphs.errors import DllmEdgeError
from ...runtime.bundle.foreign_errors import reported
from ...runtime.bundle.tokenizer import parse_tokenizer
from .backtraces import without_backtraces

REMEDY = "it is damaged or another model's, download it again"
TEXTS = (
    "",
    "Why is the sky blue?",
    "I'll say: it's 1,234,567.89 (isn't it?) [a_b] {c} <d> e@f.g #h $i %j ^k &l *m \\n `o` ~p |q",
    "naïve Ångström, straße, Việt Nam, ½",
    "東京都、こんにちは、안녕하세요",
    "שלום مرحبا नमस्ते สวัสดี Здравствуйте Γειά",
    "🙂👩‍👩‍👧‍👦🇩🇪",
    "cafe\u0301 e\u0301\u0323 \u200b\u200d\ufeff\ufffd",
    "  two  spaces\n\n\tand\ttabs \r\n end   ",
    " " * 300,
    "0123456789" * 30,
    "long" * 2500,
    "nul\x00, escape \x1b[1m, delete \x7f, \x80\x9f",
    "def f(x):\n    return x  # 1\n",
)


def try_tokenizer(tokenizer: Tokenizer, config: ModelConfig, file: Path) -> None:
    """Raise `DllmEdgeError`, naming `file`, unless the tokenizer can write and read a dozen texts and its own added tokens.

    It is tried as a bundle will have it: written to JSON and read again.
    """
    with without_backtraces():
        with reported(f"{file}: the tokenizer cannot be written", REMEDY):
            written = tokenizer.to_str()
        tried = parse_tokenizer(written, file, REMEDY)
        for text in texts_of(tried):
            _try_text(tried, text, config, file)


def texts_of(tokenizer: Tokenizer) -> Iterator[str]:
    """Return what a tokenizer is tried on."""
    yield from TEXTS
    yield from (str(token.content) for token in tokenizer.get_added_tokens_decoder().values())


def _try_text(tokenizer: Tokenizer, text: str, config: ModelConfig, file: Path) -> None:
    """Raise `DllmEdgeError` unless `text` becomes ids that the model has, and these become text."""
    shown = repr(text if len(text) <= 40 else f"{text[:40]}...")
    with reported(f"{file}: the tokenizer fails on {shown}", REMEDY):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        unknown = [token for token in ids if token >= config.vocab_size or tokenizer.id_to_token(token) is None]
        if unknown:
            raise DllmEdgeError(
                f"{file}: the tokenizer gives {shown} the id {unknown[0]}, which the model's {config.vocab_size} do not "
                f"include or no token has: {REMEDY}"
            )
        for skip_special_tokens in (False, True):
            tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)
