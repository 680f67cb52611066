"""What every system shares: settings, the canvas, one decision a forward, and the record of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import inf
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from . import conv, credit, editing, klass, saber, wino
from .model import Forward, Frozen, Model, shifted
from .rules import (
    Candidate,
    Choice,
    ConfidenceKind,
    candidates,
    dream_count,
    dynamic_threshold,
    entropy_bound,
    factor,
    frechet,
    hierarchical,
    local_leap,
    quota,
    threshold,
    top,
)
from .saber import Form, Seen

Rule = Literal[
    "quota",
    "threshold",
    "factor",
    "frechet",
    "schedule",
    "dynamic-threshold",
    "saber",
    "entropy-bound",
    "hierarchical",
    "local-leap",
    "klass",
    "credit",
    "conv",
    "wino",
    "token-editing",
    "entropy-threshold",
]


@dataclass(frozen=True)
class Settings:
    gen_length: int
    block_length: int
    steps: int | None = None  # of the whole generation; None: gen_length
    unmask: Rule = "quota"
    threshold: float = 0.9
    confidence_alpha: float = 0.3  # of the dynamic threshold
    mask_ratio: Literal["window", "block"] = "window"
    factor: float = 1.0
    frechet_margin: float = 0.25
    reference_compat: bool = False  # factor and saber as the published code has them
    entropy_bound: float = 0.1
    low_threshold: float = 0.4  # hierarchical
    remask_threshold: float = 0.0
    leap_threshold: float = 0.75
    leap_radius: int = 4
    kl_threshold: float = 0.01
    kl_steps: int = 2
    credit_weight: float = 0.7
    credit_decay: float = 0.8
    credit_power: float = 0.2
    known: int = 32  # of ids, the best that a step returns
    least_commits: int = 2  # Saber
    backtrack_one_in: int = 8
    backtrack: Literal["fall", "probability"] = "fall"
    conv_mult: float = 1.0  # convolutional decoding
    conv_window: int = 128
    conv_top_k: int = 0
    eos_fill: bool = False
    threshold_back: float = 0.9  # WINO
    edit_threshold: float = 0.5  # token editing
    max_post_edit_steps: int = 16
    confidence: ConfidenceKind = "maskgit_plus"
    early_stop: bool = False
    stop_at: Literal["text", "block"] = "text"
    banned: tuple[int, ...] = ()  # never chosen, besides the mask token
    retention: float = 0.5  # Sparse-dLLM
    kernel: int = 3
    delay: int = 1
    window: int = 32  # Streaming-dLLM
    trailing: int = 1
    freeze: Literal["prompt", "block", "committed", "window"] = "block"  # FreeCache
    branches: int = 3  # SSD, LoPA
    cache: Literal["dual", "none"] = "dual"
    entropy_threshold: float = 0.5  # d3LLM
    block_add_threshold: float = 0.1
    cache_delay: int = 2
    refresh: int = 0
    warmup: int = 2  # vicinity

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
    edits: dict[int, list[tuple[int, int]]]  # by forward, positions and the tokens that replaced others

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
    histories: dict[int, klass.History] = field(default_factory=dict)  # by the block's start
    credits: dict[int, credit.Credits] = field(default_factory=dict)
    witnesses: dict[int, wino.Memory] = field(default_factory=dict)
    edited: dict[int, editing.Memory] = field(default_factory=dict)
    edits: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    shadowed: Block | None = None  # what the rows behind the canvas predict without seeing it
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
        again = block.start in self.edited and self.edited[block.start].goes_on(self.settings.max_post_edit_steps)
        return not self.stopped and (bool(self.masked(block)) or again)

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
        match self.settings.unmask:
            case "saber":
                self._decide_saber(block, result, first_done)
            case "hierarchical":
                self._decide_hierarchical(block, result, first_done)
            case "conv":
                self._decide_conv(block, result, step, first_done)
            case "wino":
                self._decide_wino(block, result, first_done)
            case "token-editing":
                self._decide_editing(block, result, first_done)
            case _:
                self._decide_masks(block, result, step, first_done)

    def _decide_masks(self, block: Block, result: Forward, step: int, first_done: bool) -> None:
        positions = self.masked(block)
        options = self._credited(block, result) if self.settings.unmask == "credit" else self._candidates(result, positions)
        if self.settings.unmask == "klass":
            self._commit(block, options, self._choose_klass(block, result, options, step, first_done))
            return
        self._commit(block, options, self._choose(block, options, step, first_done))

    def decide_first(self, block: Block, result: Forward) -> None:
        """A shifted model's refresh: the block's first token alone, greedily, since no later row predicts it."""
        self._commit(block, self._candidates(result, [block.start]), Choice([0], float("inf")))

    def _candidates(self, result: Forward, positions: Sequence[int], kind: ConfidenceKind | None = None) -> list[Candidate]:
        return candidates(self._rows(result, positions), positions, kind or self.settings.confidence, self._banned)

    @property
    def _banned(self) -> set[int]:
        return {self.model.config.mask_token, *self.settings.banned}

    def _choose(self, block: Block, options: list[Candidate], step: int, first_done: bool) -> Choice:
        settings, confidence = self.settings, [option.confidence for option in options]
        positions = [option.position for option in options]
        steps, length = settings.block_steps, block.end - block.start
        match settings.unmask:
            case "quota" if first_done:
                return top(confidence, quota(length - 1, max(steps - 1, 1))[step - 1])
            case "quota":
                return top(confidence, quota(length, steps)[step])
            case "schedule":
                return top(confidence, dream_count(len(confidence), step, steps))
            case "threshold" | "dynamic-threshold" | "credit":
                return threshold(confidence, self.least(block))
            case "factor":
                return factor(confidence, settings.factor, settings.reference_compat)
            case "frechet":
                return frechet(confidence, settings.frechet_margin)
            case "entropy-bound":
                return entropy_bound(confidence, [option.entropy for option in options], settings.entropy_bound)
            case "local-leap":
                return local_leap(positions, confidence, settings.threshold, settings.leap_threshold, settings.leap_radius)
            case _:
                raise AssertionError("it looks at more than confidences")

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

    def _rows(self, result: Forward, positions: Sequence[int]) -> Tensor:
        """The logits that predict these positions, float64."""
        logits = shifted(result.logits) if self.model.config.shift else result.logits
        return logits[torch.tensor(positions, dtype=torch.int64)].double()

    def _credited(self, block: Block, result: Forward) -> list[Candidate]:
        settings, positions = self.settings, self.masked(block)
        form = credit.Form(settings.credit_weight, settings.credit_decay, settings.credit_power, settings.known)
        memory = self.credits.setdefault(block.start, credit.Credits())
        credit.decay(memory, form)
        rows = zip(positions, self._rows(result, positions), strict=True)
        return [credit.candidate(memory, position, logits, self._banned, form) for position, logits in rows]

    def _choose_klass(self, block: Block, result: Forward, options: list[Candidate], step: int, first_done: bool) -> Choice:
        settings = self.settings
        history = self.history(block)
        self.note(history, result, [option.position for option in options])
        length, steps = block.end - block.start - first_done, max(1, settings.block_steps - first_done)
        counts = quota(length, steps)
        place = step - first_done
        count = max(1, counts[place] if place < len(counts) else 1)
        early = step < settings.kl_steps - 1
        highest = [inf if early else history.highest(option.position, settings.kl_steps) for option in options]
        form = klass.Form(settings.threshold, settings.kl_threshold, settings.kl_steps)
        return klass.choose([option.confidence for option in options], highest, count, form)

    def history(self, block: Block) -> klass.History:
        return self.histories.setdefault(block.start, klass.History())

    def note(self, history: klass.History, result: Forward, positions: Sequence[int]) -> None:
        for position, logits in zip(positions, self._rows(result, positions), strict=True):
            history.add(position, torch.log_softmax(logits, -1), self._banned, self.settings.known)

    def _decide_hierarchical(self, block: Block, result: Forward, first_done: bool) -> None:
        """Tokens of earlier steps that have become improbable return; one more than these is committed at least."""
        settings, masked = self.settings, self.masked(block)
        options = self._candidates(result, masked)
        standing = self._standing(block, first_done)
        rows = torch.softmax(self._rows(result, standing), -1)
        current = sorted((float(row[self.canvas[position]]), position) for position, row in zip(standing, rows, strict=True))
        doubted = [position for probability, position in current if probability < settings.remask_threshold]
        returned = doubted[: len(masked) - 1]
        confidence = [option.confidence for option in options]
        choice = hierarchical(masked, confidence, settings.low_threshold, settings.threshold, len(returned) + 1)
        if settings.remask_threshold:
            nearest = min((abs(probability - settings.remask_threshold) for probability, _ in current), default=inf)
            choice = Choice(choice.indices, min(choice.slack, nearest))
        self._commit(block, options, choice, returned)

    def _decide_saber(self, block: Block, result: Forward, first_done: bool) -> None:
        """A first token that a full forward alone predicts is out of its hands."""
        settings, mask = self.settings, self.model.config.mask_token
        positions = [one for one in range(block.start + first_done, block.end) if self._predicted(one)]
        options = {option.position: option for option in self._candidates(result, positions)}
        current = self._current(result)
        masked = {position: bool(self.canvas[position] == mask) for position in positions}
        seen = [Seen(one, masked[one], options[one].confidence, float(current[one])) for one in positions]
        form = Form(settings.least_commits, settings.backtrack_one_in, settings.backtrack == "fall", settings.reference_compat)
        verdict = saber.decide(self.memories.setdefault(block.start, saber.Memory()), seen, form)
        open_options = [option for position, option in options.items() if masked[position]]
        order = [option.position for option in open_options]
        self._commit(block, open_options, Choice(sorted(map(order.index, verdict.drafted)), verdict.slack), verdict.returned)

    def _standing(self, block: Block, first_done: bool) -> list[int]:
        """Decided positions of the block that the last forward predicts."""
        masked = self.masked(block)
        decided = [position for position in range(block.start + first_done, block.end) if position not in masked]
        return [position for position in decided if self._predicted(position)]

    def _predicted(self, position: int) -> bool:
        """Whether the last forward would have computed the row that predicts a position."""
        return bool(self.sent[max(0, position - self.model.config.shift)])

    def _current(self, result: Forward) -> Tensor:
        """[L]: how probable the token at each position is, to a row that does not see it where there is one."""
        logits = shifted(result.logits) if self.model.config.shift else result.logits
        positions = torch.arange(len(self.canvas))
        current = torch.softmax(logits.double(), -1)[positions, self.canvas]
        if self.shadowed is not None:
            inside = positions[self.shadowed.start : self.shadowed.end]
            rows = torch.arange(len(inside)) + len(self.canvas)
            current[inside] = torch.softmax(result.logits.double(), -1)[rows, self.canvas[inside]]
        return current

    def _decide_conv(self, block: Block, result: Forward, step: int, first_done: bool) -> None:
        settings, steps = self.settings, self.settings.block_steps
        decided = (self.canvas != self.model.config.mask_token).tolist()
        options = self._candidates(result, self.masked(block))
        weights = [conv.weight(decided, one.position, settings.conv_window, settings.conv_mult) for one in options]
        if settings.conv_top_k:
            self._draw(block, result, options, weights, step)
            return
        length = block.end - block.start - first_done
        count = quota(length, max(steps - first_done, 1))[step - first_done]
        self._commit(block, options, top([one.confidence * w for one, w in zip(options, weights, strict=True)], count))

    def _draw(self, block: Block, result: Forward, options: list[Candidate], weights: list[float], step: int) -> None:
        logits = shifted(result.logits) if self.model.config.shift else result.logits
        chances = torch.softmax(logits.double(), -1)[[one.position for one in options]]
        chances[:, [self.model.config.mask_token, *self.settings.banned]] = -1
        best = chances.topk(self.settings.conv_top_k + 1)
        draws = conv.ancestral(best.values.tolist(), weights, step, self.settings.block_steps, self.random)
        drawn = [index for index, draw in enumerate(draws) if draw.candidate is not None]
        for index in drawn:
            candidate = draws[index].candidate
            token, chance = int(best.indices[index, candidate]), float(best.values[index, candidate])
            options[index] = Candidate(options[index].position, token, chance, options[index].margin)
        self._commit(block, options, Choice(drawn, min(draw.slack for draw in draws)))

    def _decide_wino(self, block: Block, result: Forward, first_done: bool) -> None:
        options = self._candidates(result, self.masked(block))
        current, standing = self._current(result), self._standing(block, first_done)
        verdict = wino.decide(
            self.witnesses.setdefault(block.start, wino.Memory()),
            {option.position: option.confidence for option in options},
            {position: float(current[position]) for position in standing},
            self.settings.threshold,
            self.settings.threshold_back,
        )
        order = [option.position for option in options]
        self._commit(block, options, Choice(sorted(map(order.index, verdict.drafted)), verdict.slack), verdict.returned)

    def _decide_editing(self, block: Block, result: Forward, first_done: bool) -> None:
        """A first token that a full forward alone predicts stays."""
        masked = self._candidates(result, self.masked(block)) if self.masked(block) else []
        standing = self._standing(block, first_done)
        proposed = self._candidates(result, standing) if standing else []
        verdict = editing.decide(
            self.edited.setdefault(block.start, editing.Memory()),
            masked,
            {option.position: (option, int(self.canvas[option.position])) for option in proposed},
            self.settings.threshold,
            self.settings.edit_threshold,
        )
        for option in verdict.edited:
            self.canvas[option.position] = option.token
        self.edits[self.forwards - 1] = [(option.position, option.token) for option in verdict.edited]
        self._commit(block, masked, Choice([masked.index(option) for option in verdict.committed], verdict.slack))

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
        return Decoded(
            self.canvas.tolist(), self.forwards, self.commits, self.passes, self.evictions, self.returned, self.edits
        )
