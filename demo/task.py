"""The embedded task: arithmetic word problems with worked steps, made from a seed.

A problem has one to three operations on whole numbers below 100. Training and held-out problems come from separate seeds, and
training leaves out the questions that are held out.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from ..runtime.evaluation.task import Problem, Task

LARGEST = 99
LARGEST_CHANGE = 20
HELD_OUT_SEED = 1_000_003
RESERVED = 5000  # held-out problems that training leaves out

NAMES = "Tom Anna Ben Clara David Emma Felix Grace Henry Iris Jack Kate Leo Mia Noah Olga Paul Rosa Sam Tina".split()
ITEMS = "apples books coins cards pens shells stamps marbles stickers cookies plums buttons beads keys stones tickets".split()
GAINS = ("{name} buys {n} more.", "{name} finds {n} more.", "A friend gives {name} {n} more.", "{name} wins {n} more.")
LOSSES = ("{name} gives away {n}.", "{name} loses {n}.", "{name} sells {n}.", "{name} drops {n}.")

ANSWER = re.compile(r"The answer is (-?\d+)\.")


def problem(source: random.Random) -> Problem:
    """Draw one problem."""
    name, item = source.choice(NAMES), source.choice(ITEMS)
    value = source.randint(2, LARGEST)
    question, steps = [f"{name} has {value} {item}."], [f"Start: {value}."]
    for _ in range(source.randint(1, 3)):
        gain = value == 0 or (value < LARGEST and source.random() < 0.5)
        change = source.randint(1, min(LARGEST_CHANGE, LARGEST - value if gain else value))
        after = value + change if gain else value - change
        question.append(source.choice(GAINS if gain else LOSSES).format(name=name, n=change))
        steps.append(f"{value} {'+' if gain else '-'} {change} = {after}.")
        value = after
    question.append(f"How many {item} does {name} have?")
    steps.append(f"The answer is {value}.")
    return Problem(" ".join(question), " ".join(steps), value)


def problems(seed: int) -> Iterator[Problem]:
    """An endless stream of problems, the same for the same seed."""
    source = random.Random(seed)
    while True:
        yield problem(source)


def held_out(count: int) -> list[Problem]:
    """The first `count` (at most `RESERVED`) different problems of the held-out seed."""
    assert count <= RESERVED, "later problems may have been trained on"
    found: dict[str, Problem] = {}
    for candidate in problems(HELD_OUT_SEED):
        found.setdefault(candidate.question, candidate)
        if len(found) == count:
            return list(found.values())
    raise AssertionError("the stream of problems is endless")


def training_problems(seed: int) -> Iterator[Problem]:
    """The problems of a seed whose questions are not held out."""
    reserved = {kept.question for kept in held_out(RESERVED)}
    return (drawn for drawn in problems(seed) if drawn.question not in reserved)


def parse_answer(text: str) -> int | None:
    """The number that a generated solution gives, or None where it gives none."""
    match = ANSWER.search(text)
    return int(match.group(1)) if match else None


def score(asked: Problem, text: str) -> bool:
    """Whether a generated solution gives the problem's number."""
    return parse_answer(text) == asked.answer


ARITHMETIC = Task("arithmetic", "word problems of one to three operations", RESERVED, held_out, score)
