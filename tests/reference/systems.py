"""Decoding systems as full forwards: what a cache would hold is frozen, what it would drop is hidden."""

from itertools import count

import torch
from torch import Tensor

from .decoding import Block, Commit, Decoded, Eviction, Run, Settings
from .klass import History
from .model import Forward, Frozen, Model


def vanilla(model: Model, prompt: list[int], settings: Settings) -> Decoded:
    """No cache, blocks from left to right (LLaDA, Nie et al. 2025). One block: Dream's whole sequence (Ye et al. 2025)."""
    run = Run(model, prompt, settings)
    for block in run.blocks():
        for step in count():
            if not run.open(block):
                break
            run.decide(block, run.forward(), step)
    return run.decoded()


def saber(model: Model, prompt: list[int], settings: Settings) -> Decoded:
    """Saber (2025): no cache; a block's forwards decide over all that was generated before it, too."""
    run = Run(model, prompt, settings)
    for block in run.blocks():
        region = Block(len(prompt), block.end)
        while run.open(region):
            run.decide(region, run.forward(), 0)
    return run.decoded()


def klass(model: Model, prompt: list[int], settings: Settings) -> Decoded:
    """KLASS' released code: no cache; all masks from the block on are compared with what they were a forward ago."""
    run = Run(model, prompt, settings)
    for block in run.blocks():
        run.histories[block.start] = run.histories[len(prompt)] if run.histories else History()
        for step in count():
            if not run.open(block):
                break
            result = run.forward()
            run.note(run.history(block), result, run.masked(Block(block.end, len(run.canvas))))
            run.decide(block, result, step)
    return run.decoded()


def conv(model: Model, prompt: list[int], settings: Settings) -> Decoded:
    """Convolutional decoding (2025): no cache; with eos_fill all after the second end of text becomes one."""
    run = Run(model, prompt, settings)
    for block in run.blocks():
        for step in count():
            if not run.open(block):
                break
            run.decide(block, run.forward(), step)
            if settings.eos_fill:
                _fill_after_second_end(run)
    return run.decoded()


def _fill_after_second_end(run: Run) -> None:
    ends = 0
    for position in range(len(run.prompt), len(run.canvas)):
        token, filling = int(run.canvas[position]), ends >= 2
        ends += token in run.model.config.eos_tokens
        end = run.model.config.eos_tokens[0]
        if filling and token == run.model.config.mask_token:
            run.commits.append(Commit(run.forwards - 1, position, end, 1.0))
        elif filling and token not in run.model.config.eos_tokens:
            run.edits.setdefault(run.forwards - 1, []).append((position, end))
        if filling and token not in run.model.config.eos_tokens:
            run.canvas[position] = end


def wino(model: Model, prompt: list[int], settings: Settings) -> Decoded:
    """WINO (2025): behind the canvas a shadow of the block, all masks; each of its rows sees all but what it predicts."""
    run = Run(model, prompt, settings)
    for block in run.blocks():
        run.shadowed = block
        while run.open(block):
            run.forwards += 1
            run.decide(block, _shadowed(run, block), 0)
    return run.decoded()


def _shadowed(run: Run, block: Block) -> Forward:
    length, predicted = len(run.canvas), list(range(block.start, block.end))
    positions = [*range(length), *(max(0, position - run.model.config.shift) for position in predicted)]
    ids = run.canvas.tolist() + [run.model.config.mask_token] * len(predicted)
    sees = torch.ones(len(ids), len(ids), dtype=torch.bool)
    sees[:length, length:] = False
    for row, position in enumerate(predicted, length):
        sees[row, position] = False
    return run.model.forward(torch.tensor(ids), positions=torch.tensor(positions), sees=sees)


def fast_dllm_prefix(model: Model, prompt: list[int], settings: Settings) -> Decoded:
    """Fast-dLLM (Wu et al. 2025), section 3: what stands before the block is stale; block and suffix are fresh."""
    return _fast_dllm(model, prompt, settings, suffix=False)


def fast_dllm_dual(model: Model, prompt: list[int], settings: Settings) -> Decoded:
    """Fast-dLLM (Wu et al. 2025), section 3: prefix and suffix are stale; the block is fresh."""
    return _fast_dllm(model, prompt, settings, suffix=True)


def _fast_dllm(model: Model, prompt: list[int], settings: Settings, *, suffix: bool) -> Decoded:
    run, shift = Run(model, prompt, settings), model.config.shift
    for block in run.blocks():
        refresh = run.forward()
        if shift:
            run.decide_first(block, refresh)
        else:
            run.decide(block, refresh, 0)
        stale = run.outside(block) if suffix else torch.arange(len(run.canvas)) < block.start
        frozen = Frozen(refresh.keys, refresh.values, stale)
        for step in count(1):
            if not run.open(block):
                break
            run.decide(block, run.forward(frozen), step, first_done=shift)
    return run.decoded()


def sparse_dllm(model: Model, prompt: list[int], settings: Settings) -> Decoded:
    """Sparse-dLLM (Song et al. 2025): after a delay, prefix and suffix are stale and their least salient part is gone."""
    run, shift = Run(model, prompt, settings), model.config.shift
    for block in run.blocks():
        frozen: Frozen | None = None
        for step in count():
            if not run.open(block):
                break
            result = run.forward(frozen)
            if step == settings.delay:
                frozen = _evict(run, block, result, run.outside(block))
            if shift and step == 0:
                run.decide_first(block, result)
            else:
                run.decide(block, result, step, first_done=shift)
    return run.decoded()


def streaming_dllm(model: Model, prompt: list[int], settings: Settings) -> Decoded:
    """Streaming-dLLM (Xiao et al. 2026): the suffix is pruned; what stands before the block is stale, or gone."""
    run, shift = Run(model, prompt, settings), model.config.shift
    for block in run.blocks():
        pruned = _pruned(run, block).expand(model.config.layers, -1)
        before = torch.arange(len(run.canvas)) < block.start
        nothing = [torch.zeros(())] * model.config.layers
        refresh = run.forward(Frozen(nothing, nothing, torch.zeros_like(before), pruned))
        if shift:
            run.decide_first(block, refresh)
        else:
            run.decide(block, refresh, 0)
        frozen = Frozen(refresh.keys, refresh.values, before, pruned)
        if settings.retention < 1 and run.open(block):
            evicted = _evict(run, block, refresh, before)
            assert evicted.hidden is not None
            frozen = Frozen(refresh.keys, refresh.values, before, pruned | evicted.hidden)
        for step in count(1):
            if not run.open(block):
                break
            run.decide(block, run.forward(frozen), step, first_done=shift)
    return run.decoded()


def _pruned(run: Run, block: Block) -> Tensor:
    """Which positions are left out: of a suffix longer than the window all but its first ones and the last."""
    suffix = list(range(block.end, len(run.canvas)))
    window, trailing = run.settings.window, run.settings.trailing
    kept = suffix[:window] + suffix[max(window, len(suffix) - trailing) :]
    pruned = torch.zeros(len(run.canvas), dtype=torch.bool)
    pruned[[position for position in suffix if position not in kept]] = True
    return pruned


def _evict(run: Run, block: Block, result: Forward, outside: Tensor) -> Frozen:
    absolute = outside.nonzero().flatten()
    hidden = torch.zeros(run.model.config.layers, len(run.canvas), dtype=torch.bool)
    keep = int(len(absolute) * run.settings.retention)
    kept: list[list[int]] = []
    gap = float("inf")
    for layer, (query, key) in enumerate(zip(result.queries, result.keys, strict=True)):
        score = pooled(saliency(query[:, block.start : block.end], key[:, outside]), run.settings.kernel)
        chosen = absolute[keep_best(score, keep)]
        hidden[layer] = outside
        hidden[layer, chosen] = False
        kept.append(chosen.tolist())
        gap = min(gap, keep_gap(score, keep))
    run.evictions.append(Eviction(run.forwards - 1, kept, gap))
    return Frozen(result.keys, result.values, outside, hidden)


def saliency(query: Tensor, key: Tensor) -> Tensor:
    """Raw product of the block's mean query with each key, averaged over heads.

    query: [H, B, D]; key: [Hkv, n, D]; returns [n].
    """
    repeated = key.repeat_interleave(query.shape[0] // key.shape[0], 0)
    return torch.einsum("hd,hnd->hn", query.mean(1), repeated).mean(0)


def pooled(score: Tensor, kernel: int) -> Tensor:
    """Maximum over a window of the compacted axis, in which the block's neighbours are neighbours."""
    reach = kernel // 2
    return torch.tensor([float(score[max(0, index - reach) : index + reach + 1].max()) for index in range(len(score))])


def keep_best(score: Tensor, keep: int) -> Tensor:
    """Indices, ascending, of the best scores; among equals the first."""
    order = sorted(range(len(score)), key=lambda index: (-float(score[index]), index))
    return torch.tensor(sorted(order[:keep]), dtype=torch.int64)


def keep_gap(score: Tensor, keep: int) -> float:
    """From the last kept score to the first dropped; where they are equal (one key's window), to the nearest other."""
    if not 0 < keep < len(score):
        return float("inf")
    kept, dropped = score.sort(descending=True).values[keep - 1 : keep + 1].tolist()
    return (
        min((abs(value - kept) for value in score.tolist() if value != kept), default=0.0)
        if kept == dropped
        else kept - dropped
    )
