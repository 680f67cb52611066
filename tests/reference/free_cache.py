"""FreeCache and guided diffusion (FlashDLM, Hu et al. 2025) as full forwards: what would be cached is frozen by position."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .decoding import Block, Decoded, Run, Settings
from .model import Forward, Frozen, Model
from .rules import Choice


@dataclass(frozen=True)
class Judging:
    accept: Literal["deterministic", "topk", "topk_relative", "dynamic_threshold"] = "deterministic"
    accept_top_k: int = 2
    accept_ratio: float = 0.5
    accept_threshold: float = 0.1
    banned: tuple[int, ...] = ()  # never the guide's choice


class Cache:
    """Keys and values of each frozen position, and a forward that sends the others."""

    def __init__(self, run: Run) -> None:
        self.run, layers, self.length = run, run.model.config.layers, len(run.canvas)
        self.frozen = torch.zeros(self.length, dtype=torch.bool)
        self.first_forward = True
        self.keys = [torch.zeros(())] * layers
        self.values = [torch.zeros(())] * layers

    def forward(self, block: Block) -> Forward:
        run, settings, position = self.run, self.run.settings, torch.arange(self.length)
        first = min(run.masked(Block(0, block.end)), default=block.start)
        self.frozen &= position < first
        stop = max(block.end, first + settings.window) if settings.freeze == "window" else self.length
        resent = position >= first - settings.window if settings.freeze == "window" else torch.zeros_like(self.frozen)
        stale = self.frozen & ~resent
        if run.model.config.shift and stale.any():
            stale[stale.nonzero().max()] = False
        self.sent = ~stale & (position < stop)
        hidden = (position >= stop).expand(run.model.config.layers, -1)
        result = run.forward(Frozen(self.keys, self.values, stale, hidden))
        new = (position < self._final(first, block)) & ~stale
        self._keep(result, new if settings.freeze == "window" else new & ~self.frozen)
        self.first_forward = False
        return result

    def _final(self, first: int, block: Block) -> int:
        prompt = len(self.run.prompt)
        if self.first_forward or self.run.settings.freeze == "prompt":
            return prompt
        return block.start if self.run.settings.freeze == "block" else first

    def _keep(self, result: Forward, new: Tensor) -> None:
        fresh = new[None, :, None]
        self.keys = [torch.where(fresh, now, old) for now, old in zip(result.keys, self.keys, strict=True)]
        self.values = [torch.where(fresh, now, old) for now, old in zip(result.values, self.values, strict=True)]
        self.frozen |= new


def free_cache(model: Model, prompt: list[int], settings: Settings) -> Decoded:
    run = Run(model, prompt, settings)
    cache = Cache(run)
    for block in run.blocks():
        step = 0
        while run.open(block):
            run.decide(block, cache.forward(block), step)
            step += 1
    return run.decoded()


def flashdlm(model: Model, guide: Model, prompt: list[int], settings: Settings, judging: Judging) -> tuple[Decoded, list[int]]:
    """The decode, and how many tokens each of its forwards committed. The guide reads everything anew each time."""
    run, counts = Run(model, prompt, settings), []
    cache, whole = Cache(run), Block(len(prompt), len(prompt) + settings.gen_length)
    for block in run.blocks():
        while run.open(block):
            result = cache.forward(block)
            masks = [position for position in run.masked(whole) if cache.sent[position]]
            options = run._candidates(result, masks)
            drafted = run.canvas.clone()
            drafted[masks] = torch.tensor([option.token for option in options])
            count = accepted(guide, drafted, masks, judging)
            counts.append(max(1, count))
            run._commit(block, options, Choice(list(range(max(1, count))), float("inf")))
    return run.decoded(), counts


def accepted(guide: Model, drafted: Tensor, masks: list[int], judging: Judging) -> int:
    for count, position in enumerate(masks):
        log_probs = torch.log_softmax(guide.forward(drafted[:position]).logits[-1].double(), -1)
        allowed = log_probs.clone()
        allowed[list(judging.banned)] = -torch.inf
        best = allowed.topk(judging.accept_top_k)
        draft = int(drafted[position])
        own = float(log_probs[draft].exp())
        among = draft in best.indices.tolist()
        match judging.accept:
            case "deterministic":
                right = draft == int(allowed.argmax())
            case "topk":
                right = among
            case "topk_relative":
                right = among and own >= judging.accept_ratio * float(best.values[0].exp())
            case "dynamic_threshold":
                right = own > judging.accept_threshold
        if not right:
            return count
    return len(masks)
