"""What every system shares: settings, the canvas, one decision a forward, and the record of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor

from . import saber
from .model import Forward, Frozen, Model, shifted
from .rules import (
    Candidate,
    Choice,
    ConfidenceKind,
    candidates,
    dream_count,
    dynamic_threshold,
    factor,
    frechet,
    quota,
    threshold,
    top,
)
from .saber import Form, Seen


@dataclass(frozen=True)
class Settings:
    gen_length: int
    block_length: int
    steps: int | None = None  # of the whole generation; None: gen_length
    unmask: Literal[
        "quota", "threshold", "factor", "frechet", "schedule", "dynamic-threshold", "entropy-threshold", "saber"
    ] = "quota"
    threshold: float = 0.9
    confidence_alpha: float = 0.3  # of the dynamic threshold
    mask_ratio: Literal["window", "block"] = "window"
    factor: float = 1.0
    frechet_margin: float = 0.25
    reference_compat: bool = False  # factor and saber as the published code has them
    least_commits: int = 2  # Saber
    backtrack_one_in: int = 8
    backtrack: Literal["fall", "probability"] = "fall"
    confidence: ConfidenceKind = "maskgit_plus"
    early_stop: bool = False
    stop_at: Literal["text", "block"] = "text"
    banned: tuple[int, ...] = ()  # never chosen, besides the mask token
    retention: float = 0.5  # Sparse-dLLM
    kernel: int = 3
    delay: int = 1
    window: int = 32  # Streaming-dLLM
    trailing: int = 1
    branches: int = 3  # SSD, LoPA
    cache: Literal["dual", "none"] = "dual"
    entropy_threshold: float = 0.5  # d3LLM
    block_add_threshold: float = 0.1
    cache_delay: int = 2
    refresh: int = 0

    def __post_init__(self) -> None:
        if self.gen_length % self.block_length:
            raise ValueError(f"gen_length {self.gen_length} is no multiple of block_length {self.block_length}")
        counted = self.unmask in ("quota", "schedule")
        if counted and (self.total_steps % self.blocks or self.total_steps < self.blocks):
            raise ValueError(f"steps {self.total_steps} is no multiple of the {self.blocks} blocks")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel {self.kernel} must be odd")

    @property
    def blocks(self) -> int:
        return self.gen_length // self.block_length

    @property
    def total_steps(self) -> int:
        return self.gen_length if self.steps is None else self.steps

    @property
    def block_steps(self) -> int:
        return self.total_steps // self.blocks


@dataclass(frozen=True)
class Block:
    start: int
    end: int


@dataclass(frozen=True)
class Commit:
    forward: int
    position: int
    token: int
    confidence: float


@dataclass(frozen=True)
class Pass:
    """One forward and what was decided from it."""

    kind: Literal["full", "block"]  # block: only the block's rows (prefix cache: and the suffix's) would be computed
    block: Block
    candidates: list[Candidate]  # every masked position that could have been committed
    chosen: list[int]  # positions, ascending
    slack: float  # smallest distance to another decision: logit margins of the chosen, confidences of all


@dataclass(frozen=True)
class Eviction:
    forward: int
    kept: list[list[int]]  # per layer: absolute positions, ascending
    gap: float  # smallest distance, over layers, of a pooled score to the one that decides


@dataclass(frozen=True)
class Decoded:
    tokens: list[int]  # prompt and generation; what was never decided is the mask token
    forwards: int
    commits: list[Commit]  # by forward, then position
    passes: list[Pass]  # one a forward
    evictions: list[Eviction]
    returned: list[list[int]]  # positions that went back to the mask, one list a forward

    def first_fragile(self, tolerance: float = 1e-4) -> int | None:
        """The first forward after which rounding may explain a difference."""
        fragile = [index for index, one in enumerate(self.passes) if one.slack < tolerance]
        fragile += [eviction.forward for eviction in self.evictions if eviction.gap < tolerance]
        return min(fragile, default=None)


@dataclass
class Run:
    model: Model
    prompt: list[int]
    settings: Settings
    canvas: Tensor = field(init=False)  # [L] int64
    kind: Literal["full", "block"] = "full"  # of the last forward
    sent: Tensor = field(init=False)  # [L] bool: whose rows the last forward would compute
    stopped: bool = False
    forwards: int = 0
    commits: list[Commit] = field(default_factory=list)
    passes: list[Pass] = field(default_factory=list)
    evictions: list[Eviction] = field(default_factory=list)
    returned: list[list[int]] = field(default_factory=list)
    memories: dict[int, saber.Memory] = field(default_factory=dict)  # by the start of what is decoded together
    slack: float = float("inf")  # of what the last forward was sent for

    def __post_init__(self) -> None:
        self.canvas = torch.tensor(self.prompt + [self.model.config.mask_token] * self.settings.gen_length)
        self.sent = torch.ones(len(self.canvas), dtype=torch.bool)

    def blocks(self) -> Iterator[Block]:
        for start in range(len(self.prompt), len(self.canvas), self.settings.block_length):
            if not self.stopped:
                block = Block(start, start + self.settings.block_length)
                yield block
                if self.settings.stop_at == "block" and self.settings.early_stop:
                    self._exit(block)

    def _exit(self, block: Block) -> None:
        """Streaming-dLLM's early exit: a block that holds an end of text is the last, and all after it becomes one."""
        if set(self.canvas[block.start : block.end].tolist()) & set(self.model.config.eos_tokens):
            end = self.model.config.eos_tokens[0]
            for position in range(block.end, len(self.canvas)):
                self.canvas[position] = end
                self.commits.append(Commit(self.forwards - 1, position, end, 1.0))
            self.stopped = True

    def open(self, block: Block) -> bool:
        return not self.stopped and bool(self.masked(block))

    def masked(self, block: Block) -> list[int]:
        mask = self.model.config.mask_token
        return [position for position in range(block.start, block.end) if self.canvas[position] == mask]

    def outside(self, block: Block) -> Tensor:
        position = torch.arange(len(self.canvas))
        return (position < block.start) | (position >= block.end)

    def forward(self, frozen: Frozen | None = None) -> Forward:
        self.forwards += 1
        self.kind = "full" if frozen is None or not frozen.positions.any() else "block"
        self.sent = torch.ones(len(self.canvas), dtype=torch.bool)
        if frozen is not None:
            self.sent &= ~frozen.positions
            if frozen.hidden is not None:
                self.sent &= ~frozen.hidden.all(0)
        return self.model.forward(self.canvas, frozen)

    def forward_of(self, canvases: Sequence[Tensor], frozen: Frozen | None = None) -> list[Forward]:
        """One forward of several canvases."""
        self.forwards += 1
        self.kind = "full" if frozen is None else "block"
        return [self.model.forward(canvas, frozen) for canvas in canvases]

    def decide(self, block: Block, result: Forward, step: int, *, first_done: bool = False) -> None:
        """The rule's commit. first_done: step 0 committed the block's first token, so the rule starts at step 1."""
        if self.settings.unmask == "saber":
            self._decide_saber(block, result, first_done)
            return
        options = self._candidates(result, self.masked(block))
        choice = self._choose(block, [option.confidence for option in options], step, first_done)
        self._commit(block, options, choice)

    def decide_first(self, block: Block, result: Forward) -> None:
        """A shifted model's refresh: the block's first token alone, greedily, since no later row predicts it."""
        self._commit(block, self._candidates(result, [block.start]), Choice([0], float("inf")))

    def _candidates(self, result: Forward, positions: Sequence[int], kind: ConfidenceKind | None = None) -> list[Candidate]:
        config = self.model.config
        logits = shifted(result.logits) if config.shift else result.logits
        banned = {config.mask_token, *self.settings.banned}
        return candidates(logits[torch.tensor(positions)], positions, kind or self.settings.confidence, banned)

    def _choose(self, block: Block, confidence: list[float], step: int, first_done: bool) -> Choice:
        settings = self.settings
        steps, length = settings.block_steps, block.end - block.start
        match settings.unmask:
            case "quota" if first_done:
                return top(confidence, quota(length - 1, max(steps - 1, 1))[step - 1])
            case "quota":
                return top(confidence, quota(length, steps)[step])
            case "schedule":
                return top(confidence, dream_count(len(confidence), step, steps))
            case "threshold" | "dynamic-threshold":
                return threshold(confidence, self.least(block))
            case "factor":
                return factor(confidence, settings.factor, settings.reference_compat)
            case "frechet":
                return frechet(confidence, settings.frechet_margin)
            case "entropy-threshold" | "saber":
                raise AssertionError("it does not go by the confidences of masks")

    def least(self, block: Block) -> float:
        """The threshold of what the last forward proposed, before any of it is committed."""
        settings = self.settings
        if settings.unmask != "dynamic-threshold":
            return settings.threshold
        counted = [position for position in range(block.start, len(self.canvas)) if self.sent[position]]
        if settings.mask_ratio == "block":
            counted = list(range(block.start, block.end))
        masks = sum(int(self.canvas[position]) == self.model.config.mask_token for position in counted)
        return dynamic_threshold(settings.threshold, settings.confidence_alpha, Fraction(masks, len(counted)))

    def _decide_saber(self, block: Block, result: Forward, first_done: bool) -> None:
        """A first token that a full forward alone predicts is out of its hands."""
        settings, mask = self.settings, self.model.config.mask_token
        positions = range(block.start + first_done, block.end)
        options = {option.position: option for option in self._candidates(result, positions)}
        logits = shifted(result.logits) if self.model.config.shift else result.logits
        current = torch.softmax(logits.double(), -1)[torch.arange(len(self.canvas)), self.canvas]
        masked = {position: bool(self.canvas[position] == mask) for position in positions}
        seen = [Seen(one, masked[one], options[one].confidence, float(current[one])) for one in positions]
        form = Form(settings.least_commits, settings.backtrack_one_in, settings.backtrack == "fall", settings.reference_compat)
        verdict = saber.decide(self.memories.setdefault(block.start, saber.Memory()), seen, form)
        open_options = [option for position, option in options.items() if masked[position]]
        order = [option.position for option in open_options]
        self._commit(block, open_options, Choice(sorted(map(order.index, verdict.drafted)), verdict.slack), verdict.returned)

    def _commit(self, block: Block, options: list[Candidate], choice: Choice, returned: Sequence[int] = ()) -> None:
        chosen = [options[index] for index in choice.indices]
        for option in chosen:
            self.canvas[option.position] = option.token
            self.commits.append(Commit(self.forwards - 1, option.position, option.token, option.confidence))
        self.canvas[list(returned)] = self.model.config.mask_token
        slack = min([self.slack, choice.slack, *(option.margin for option in chosen)])
        self.slack = float("inf")
        positions = [option.position for option in chosen]
        if len(self.passes) == self.forwards:  # a forward that decides more than once
            last = self.passes.pop()
            options, slack, positions = last.candidates, min(slack, last.slack), last.chosen + positions
            returned = [*self.returned.pop(), *returned]
        self.returned.append(sorted(returned))
        self.passes.append(Pass(self.kind, block, options, sorted(positions), slack))
        self.stopped = self.settings.early_stop and self.settings.stop_at == "text" and self._ended()

    def _ended(self) -> bool:
        """An end-of-text token stands in the generated region with no mask before it."""
        for token in self.canvas[len(self.prompt) :].tolist():
            if token == self.model.config.mask_token:
                return False
            if token in self.model.config.eos_tokens:
                return True
        return False

    def decoded(self) -> Decoded:
        return Decoded(self.canvas.tolist(), self.forwards, self.commits, self.passes, self.evictions, self.returned)
