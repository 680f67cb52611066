"""Systems that try several versions of the canvas at once: each is a forward of its own here, and all of them count as one."""

from itertools import count, islice, pairwise

from torch import Tensor

from .decoding import Block, Decoded, Run, Settings
from .model import Forward, Frozen, Model
from .rules import Choice, ranked


def ssd(model: Model, prompt: list[int], settings: Settings) -> Decoded:
    """SSD and FreeDave (2025), one token a step: D_1 is the next state; while a D_j is what D_best becomes, go on from it."""
    run, dual = Run(model, prompt, settings), settings.cache == "dual"
    shift = dual and model.config.shift
    for block in run.blocks():
        result, frozen = begin(run, block, dual)
        step = count(1)
        while run.open(block):
            states, slack = _states(run, block, result)
            results = run.forward_of(states, frozen)
            run.slack = slack
            best = 0
            while True:
                result = results[best]
                run.decide(block, result, next(step), first_done=shift)
                later = [j for j in range(best + 1, len(states)) if states[j].equal(run.canvas)]
                if not later or not run.open(block):
                    break
                best = max(later)
    return run.decoded()


def begin(run: Run, block: Block, dual: bool) -> tuple[Forward, Frozen | None]:
    """The forward that begins a block, decided, and what is stale after it."""
    result = run.forward()
    if dual and run.model.config.shift:
        run.decide_first(block, result)
    else:
        run.decide(block, result, 0)
    return result, Frozen(result.keys, result.values, run.outside(block)) if dual else None


def _states(run: Run, block: Block, result: Forward) -> tuple[list[Tensor], float]:
    """The canvas, and with its 1, 2, ... best masks drafted, one of which is left at least; the distance to others."""
    options = run._candidates(result, run.masked(block))
    order = [options[index] for index in ranked([option.confidence for option in options])]
    states, slack = [run.canvas.clone()], float("inf")
    for one, after in islice(pairwise(order), run.settings.branches):
        states.append(states[-1].clone())
        states[-1][one.position] = one.token
        slack = min(slack, one.margin, one.confidence - after.confidence)
    return states, slack


def lopa(model: Model, prompt: list[int], settings: Settings) -> Decoded:
    """LoPA (2025), Algorithm 1: the anchor and branches with one token more; the one with the surest masks goes on."""
    run, dual = Run(model, prompt, settings), settings.cache == "dual"
    for block in run.blocks():
        result, frozen = begin(run, block, dual)
        for step in count(1):
            if not run.open(block):
                break
            result = _look_ahead(run, block, result, frozen)
            run.decide(block, result, step, first_done=dual and model.config.shift)
    return run.decoded()


def _look_ahead(run: Run, block: Block, result: Forward, frozen: Frozen | None) -> Forward:
    options = run._candidates(result, run.masked(block))
    order = ranked([option.confidence for option in options])
    tried = order[: run.settings.branches] if len(order) > 1 else []
    states = [run.canvas.clone() for _ in range(len(tried) + 1)]
    for state, index in zip(states[1:], tried, strict=True):
        state[options[index].position] = options[index].token
    results = run.forward_of(states, frozen)
    scores = [_mean(run, block, state, one) for state, one in zip(states, results, strict=True)]
    best = scores.index(max(scores))
    run.slack = min([scores[best] - score for index, score in enumerate(scores) if index != best], default=float("inf"))
    if 0 < len(tried) < len(order):
        run.slack = min(run.slack, options[order[len(tried) - 1]].confidence - options[order[len(tried)]].confidence)
    if best:
        run._commit(block, options, Choice([tried[best - 1]], float("inf")))
    return results[best]


def _mean(run: Run, block: Block, state: Tensor, result: Forward) -> float:
    mask = run.model.config.mask_token
    left = [position for position in range(block.start, block.end) if state[position] == mask]
    if len(left) == 0:
        return 0.0
    return sum(option.confidence for option in run._candidates(result, left)) / len(left)
