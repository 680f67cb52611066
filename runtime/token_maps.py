"""Which tokens of one tokenizer have the text of another's: what a guide of another vocabulary is read with."""

from __future__ import annotations

import numpy as np

from ..graphs.errors import DllmEdgeError
from .arrays import IntArray
from .bundle.foreign_errors import reported
from .bundle.tokenizer import BundleTokenizer
from .decoding.token_map import TokenMap

ANCHOR = "a"
"""What stands before each token whose text is asked for: some tokenizers drop a space at the beginning of a text."""
UNREADABLE = "�"
LEAST_SHARE = 0.5  # of the ids: a guide that has fewer reads another language, or another alphabet


def map_tokens(decoded: BundleTokenizer, guide: BundleTokenizer) -> TokenMap:
    """Return the guide's tokens for each id of the decoded model: by the same name and text, else by its text.

    The first end-of-text token of one is that of the other. Parts of characters, which have no text of their own, are matched
    by name alone. Raises `DllmEdgeError` where fewer than half of the ids have a token in the guide's vocabulary.
    """
    with reported(f"{guide.folder}: its tokenizer does not read the decoded model's tokens", "use another guide"):
        names = decoded.tokenizer.get_vocab(with_added_tokens=True)
        single = _by_name(decoded, guide, names)
        several: dict[int, list[int]] = {}
        texts = _texts(decoded, {name: token for name, token in names.items() if single[token] < 0})
        for token, text in texts.items():
            written = _written(guide, text)
            if len(written) == 1:
                single[token] = written[0]
            elif written:
                several[token] = written
    if decoded.config.eos_token_ids and guide.config.eos_token_ids:
        single[list(decoded.config.eos_token_ids)] = guide.config.eos_token_ids[0]
        several = {token: written for token, written in several.items() if token not in decoded.config.eos_token_ids}
    share = np.count_nonzero(single >= 0) / max(1, len(names))
    if share < LEAST_SHARE:
        raise DllmEdgeError(
            f"{guide.folder}: its vocabulary has {share:.0%} of the decoded model's tokens: use a guide with a like vocabulary"
        )
    return TokenMap(single, several)


def _by_name(decoded: BundleTokenizer, guide: BundleTokenizer, names: dict[str, int]) -> IntArray:
    """Return `[V]`: the guide's token of the same name, where both have the same text, and -1 elsewhere."""
    single = np.full(max(decoded.config.vocab_size, 1 + max(names.values(), default=0)), -1, dtype=np.int64)
    theirs = guide.tokenizer.get_vocab(with_added_tokens=True)
    shared = [name for name in names if name in theirs and theirs[name] < guide.config.vocab_size]
    mine = _texts(decoded, {name: names[name] for name in shared}, readable=False)
    others = _texts(guide, {name: theirs[name] for name in shared}, readable=False)
    for name in shared:
        if mine[names[name]] == others[theirs[name]]:
            single[names[name]] = theirs[name]
    return single


def _texts(tokenizer: BundleTokenizer, names: dict[str, int], readable: bool = True) -> dict[int, str]:
    """Return the text of each token as it stands after another; with `readable` only of those that are whole characters."""
    anchor, ids = tokenizer.tokenizer.encode(ANCHOR, add_special_tokens=False).ids, list(names.values())
    begin = len(tokenizer.tokenizer.decode(anchor, skip_special_tokens=False))
    texts = tokenizer.tokenizer.decode_batch([[*anchor, token] for token in ids], skip_special_tokens=False)
    found = {token: text[begin:] for token, text in zip(ids, texts, strict=True)}
    return {token: text for token, text in found.items() if not readable or (text and UNREADABLE not in text)}


def _written(tokenizer: BundleTokenizer, text: str) -> list[int]:
    """Return the tokens of `text` as they stand after another; none where they say something else, an unknown word say."""
    anchor = tokenizer.tokenizer.encode(ANCHOR, add_special_tokens=False).ids
    ids: list[int] = tokenizer.tokenizer.encode(ANCHOR + text, add_special_tokens=False).ids
    alike = ids[: len(anchor)] == anchor and tokenizer.tokenizer.decode(ids, skip_special_tokens=False) == ANCHOR + text
    return ids[len(anchor) :] if alike else []
