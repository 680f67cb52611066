"""dKV-Cache and dInfer's vicinity refresh as full forwards: the rows that would not be sent are frozen."""

from itertools import count

import torch
from torch import Tensor

from .decoding import Block, Decoded, Run, Settings
from .model import Forward, Frozen, Model


def dkv_cache(model: Model, prompt: list[int], settings: Settings) -> Decoded:
    """dKV-Cache (Ma et al. 2025): a token is frozen by the forward after the one that decided it.

    Two masks of decided positions, those of this forward and of the one before, as the authors keep them.
    """
    run = Run(model, prompt, settings)
    for block in run.blocks():
        before = None
        for step in count():
            if not run.open(block):
                break
            ids = run.canvas.clone()
            if step <= 1 or (settings.refresh and step % settings.refresh == 0):
                result = run.forward()
                keys, values, frozen = list(result.keys), list(result.values), torch.zeros(len(ids), dtype=torch.bool)
            else:
                assert before is not None
                frozen = before & ~_also_sent(run, block)
                result = run.forward(Frozen(keys, values, frozen))
                fresh = (_decided(run, ids) & ~before)[None, :, None]
                keys = [torch.where(fresh, now, old) for now, old in zip(result.keys, keys, strict=True)]
                values = [torch.where(fresh, now, old) for now, old in zip(result.values, values, strict=True)]
            run.decide(block, result, step)
            before = _decided(run, ids) & (run.canvas == ids)
    return run.decoded()


def _decided(run: Run, ids: Tensor) -> Tensor:
    return ids != run.model.config.mask_token


def _also_sent(run: Run, block: Block) -> Tensor:
    """The rows that predict what is looked at: the block's masks, or all of a block that has none any more."""
    sent = torch.zeros(len(run.canvas), dtype=torch.bool)
    for position in run.masked(block) or range(block.start, block.end):
        sent[position] = True
        sent[max(0, position - run.model.config.shift)] = True
    return sent


def vicinity(model: Model, prompt: list[int], settings: Settings) -> Decoded:
    """Vicinity refresh (dInfer, Ma et al. 2025): all is stale but the block and what lies next to it."""
    run, length = Run(model, prompt, settings), len(prompt) + settings.gen_length
    refreshed: Forward | None = None
    for block in run.blocks():
        near = torch.arange(length)
        near = (near >= block.start - settings.window) & (near < block.end + settings.window)
        alone = model.config.shift and settings.window == 0
        for step in count():
            if not run.open(block):
                break
            again = bool(settings.refresh) and step % settings.refresh == 0
            if step == 0 or run.forwards < settings.warmup or again:
                result = refreshed = run.forward()
            else:
                assert refreshed is not None
                result = run.forward(Frozen(refreshed.keys, refreshed.values, ~near))
            if alone and step == 0:
                run.decide_first(block, result)
            else:
                run.decide(block, result, step, first_done=alone)
    return run.decoded()
