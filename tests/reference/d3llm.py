"""d3LLM's multi-block decoding (2026), from its description: several blocks in flight, a prefix that is kept late."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .decoding import Block, Commit, Decoded, Run, Settings
from .model import Forward, Frozen, Model
from .rules import Candidate, Choice

FULL = 0.95  # progress of the block before at which one is fully activated


@dataclass
class State:
    block: Block
    full: bool = False
    seen: int | None = None  # the forward that first saw it complete
    kept: bool = False


@dataclass
class Flight:
    run: Run
    prompt: State
    coming: list[Block]
    begun: list[State] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)

    def progress(self, block: Block) -> float:
        return 1 - len(self.run.masked(block)) / (block.end - block.start)

    def activate(self) -> None:
        for before, state in zip([None, *self.begun], self.begun, strict=False):
            state.full |= before is None or self.progress(before.block) >= FULL
        if not self.begun or (self.coming and self.progress(self.begun[-1].block) >= self.run.settings.block_add_threshold):
            self.begun.append(State(self.coming.pop(0), full=not self.begun))

    def send(self, number: int) -> Forward:
        settings, states = self.run.settings, [self.prompt, *self.begun]
        for state in states:
            if state.seen is None and not self.run.masked(state.block):
                state.seen = number
        fresh, waiting = [], False
        for state in states:
            if state.seen is None:
                break
            if not state.kept and number - state.seen < settings.cache_delay:
                waiting = True
                break
            if not state.kept:
                fresh.append(state)
        kept = sum(state.block.end - state.block.start for state in states if state.kept)
        refreshed = bool(settings.refresh) and number % settings.refresh == 0
        if kept and (fresh or not (waiting or refreshed)):
            stale = torch.arange(len(self.run.canvas)) < kept - self.run.model.config.shift
            result = self.run.forward(Frozen(self.keys, self.values, stale))
        else:
            result, kept = self.run.forward(), 0
        self.keys = _after(kept, self.keys, result.keys)
        self.values = _after(kept, self.values, result.values)
        for state in fresh:
            state.kept = True
        return result


def d3llm(model: Model, prompt: list[int], settings: Settings) -> Decoded:
    run = Run(model, prompt, settings)
    coming = [
        Block(start, start + settings.block_length) for start in range(len(prompt), len(run.canvas), settings.block_length)
    ]
    flight, number = Flight(run, State(Block(0, len(prompt)), seen=0, kept=not prompt), coming), 0
    while True:
        if settings.early_stop:
            _end(run)
        if run.stopped or not run.masked(Block(0, len(run.canvas))):
            return run.decoded()
        number += 1
        flight.activate()
        result = flight.send(number)
        window = Block(len(prompt), flight.begun[-1].block.end)
        options = run._candidates(result, run.masked(window), "entropy")
        choice = _choose(options, settings.entropy_threshold)
        full = [state.block for state in flight.begun if state.full and run.masked(state.block)]
        inside = [index for index, option in enumerate(options) if full and option.position < full[0].end]
        if inside and not set(inside) & set(choice.indices):
            forced = _choose([options[index] for index in inside], settings.entropy_threshold)
            choice = Choice(
                sorted(choice.indices + [inside[index] for index in forced.indices]), min(choice.slack, forced.slack)
            )
        run._commit(window, options, choice)


def _after(kept: int, old: list[Tensor], new: list[Tensor]) -> list[Tensor]:
    return [torch.cat([here[:, :kept], there[:, kept:]], 1) for here, there in zip(old or new, new, strict=True)]


def _choose(options: list[Candidate], most: float) -> Choice:
    """All of at most that entropy, and the lowest."""
    order = sorted(range(len(options)), key=lambda index: (-options[index].confidence, index))
    entropies = [-options[index].confidence for index in order]
    chosen = {order[0]} | {index for index in order if -options[index].confidence <= most}
    slack = min((abs(entropy - most) for entropy in entropies[1:]), default=math.inf)
    if entropies[0] > most and len(entropies) > 1:
        slack = min(slack, entropies[1] - entropies[0])
    return Choice(sorted(chosen), slack)


def _end(run: Run) -> None:
    """All that follows the first end of text becomes one."""
    ends, mask = run.model.config.eos_tokens, run.model.config.mask_token
    where = [position for position in range(len(run.prompt), len(run.canvas)) if int(run.canvas[position]) in ends]
    for position in range(where[0] + 1, len(run.canvas)) if where else ():
        if run.canvas[position] == mask:
            run.commits.append(Commit(run.forwards - 1, position, ends[0], 1.0))
        run.canvas[position] = ends[0]
