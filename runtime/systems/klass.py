"""KLASS as its released code runs it on LLaDA: no cache, and distributions are compared from one block to the next.

Every forward predicts all masks from its block on, so when a block begins the rule knows for how long its distributions have
stood still. By `unmask=klass` in another system each block begins without a history; its first tokens are ready a step later.
"""

from __future__ import annotations

from ..decoding.canvas import Canvas
from ..decoding.settings import Settings
from ..decoding.window import Block
from ..unmasking.klass import History, Klass
from ..unmasking.unmasking import Unmasking
from .base import Decoding, System, register


def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
    history = History(canvas.stop, settings.kl_steps)
    for block, unmasked in unmasking.blocks():
        if isinstance(unmasked.rule, Klass):
            unmasked.rule.history = history
        while unmasked.pending:
            result = yield canvas.step(canvas.whole, predict=Block(block.start, canvas.stop))
            ahead = canvas.predicting(Block(block.stop, canvas.stop), result.step)
            history.add(result.step.predicts[ahead], result.topk_ids[ahead], result.topk_log_probs[ahead])
            unmasked.commit(result)


register(
    System(
        name="klass",
        summary="no cache; commits what is sure and has stood still, also since before its block",
        source="KLASS (2025)",
        since="2025-11",
        decode=decode,
        attention=("bidirectional",),
        rules=("klass",),
        defaults={"unmask": "klass", "confidence": "maskgit_plus"},
    )
)
