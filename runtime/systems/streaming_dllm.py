"""Streaming-dLLM (Xiao et al. 2026): a prefix cache whose steps send little of the suffix, under a threshold that falls.

For each block the suffix, which is all masks, is pruned to the `window` positions next to the block and the last
`trailing` of the canvas, each with its own position: the last tells how much is still to come. A full pass over what is left
fills the cache and commits the block's first tokens; further steps send block and pruned suffix over the cached prefix.
The rule is `dynamic-threshold`; others work, too. `stop_at=block` is the authors' early exit. Departures: that exit is not
the default, since the text is the same without the tokens after its end; a `retention` below 1 evicts the least salient
part of the prefix, as Sparse-dLLM does, in each block anew.

A model with shifted logits (Dream) predicts a block's first token from the row before the block, which only the full pass
has: that pass commits this token, and no other.
"""

from __future__ import annotations

from ..decoding.canvas import Canvas
from ..decoding.eviction import KERNEL, RETENTION, evict, kept_count
from ..decoding.settings import Setting, Settings, declare
from ..decoding.step import Reserve
from ..decoding.window import WINDOW, pruned_suffix
from ..unmasking.unmasking import Unmasking
from .base import Decoding, System, register

TRAILING = declare(Setting("trailing", 1, "Positions at the end of the canvas that a pruned suffix keeps.", least=0))


def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
    evicts = settings.retention < 1
    yield _cache(canvas, settings) if evicts else Reserve(len(canvas))
    for block, rule in unmasking.blocks(first_alone=canvas.config.logit_shift):
        pruned, prefix = pruned_suffix(block, len(canvas), settings.window, settings.trailing), canvas.before(block)
        if rule.pending:
            rule.commit((yield canvas.refresh(pruned, predict=block, salient=block if evicts else None, evicts=evicts)))
        if rule.pending and evicts:
            prefix = yield from evict(block, block.stop, settings)
        while rule.pending:
            rule.commit((yield canvas.step(pruned[block.start :], predict=block, visible=prefix)))


def _cache(canvas: Canvas, settings: Settings) -> Reserve:
    """Return a cache for what is kept of the longest prefix: at least a slot, since a step attends to a cache even so."""
    blocks = canvas.blocks(settings.block_length)
    return Reserve(max(1, *(kept_count(block.stop, len(block), settings.retention) for block in blocks)), bound=False)


register(
    System(
        name="streaming-dllm",
        summary="cached prefix; sends the block and a pruned suffix, under a threshold that falls with the masks",
        source="Streaming-dLLM (Xiao et al. 2026)",
        since="2026-01",
        decode=decode,
        attention=("bidirectional",),
        settings=(WINDOW, TRAILING, RETENTION, KERNEL),
        defaults={"unmask": "dynamic-threshold", "retention": 1.0},
        claim="10.5x at 256 tokens, 28.0x at 512 (GSM8K, LLaDA-1.5 8B)",
    )
)
