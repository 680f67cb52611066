from __future__ import annotations

import re
from itertools import islice, pairwise

import pytest

from dllm_edge.demo.task import HELD_OUT_SEED, LARGEST, RESERVED, held_out, parse_answer, problems, training_problems

# Written from the question's English alone: what each sentence does to the number of things.
SENTENCES = (
    (re.compile(r"^\w+ (?:buys|finds|wins) (\d+) more$"), 1),
    (re.compile(r"^A friend gives \w+ (\d+) more$"), 1),
    (re.compile(r"^\w+ (?:gives away|loses|sells|drops) (\d+)$"), -1),
)


def solve(question: str) -> list[int]:
    """The number of things after each sentence of a question."""
    first, *changes, last = question.replace("?", ".").rstrip(".").split(". ")
    start = re.fullmatch(r"(\w+) has (\d+) (\w+)", first)
    assert start is not None
    assert last == f"How many {start[3]} does {start[1]} have"
    counts = [int(start[2])]
    for sentence in changes:
        (change,) = (sign * int(match[1]) for pattern, sign in SENTENCES if (match := pattern.match(sentence)))
        counts.append(counts[-1] + change)
    return counts


def test_a_seed_always_gives_the_same_problems() -> None:
    first, again, other = (list(islice(problems(seed), 200)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_answers_are_right() -> None:
    for drawn in islice(problems(5), 2000):
        counts = solve(drawn.question)
        assert drawn.answer == counts[-1]
        assert 2 <= len(counts) <= 4
        assert all(0 <= count <= LARGEST for count in counts)


def test_solutions_work_out_every_step() -> None:
    for drawn in islice(problems(6), 2000):
        counts = solve(drawn.question)
        start, *steps, answer = drawn.solution.split(". ")
        assert start == f"Start: {counts[0]}"
        assert answer == f"The answer is {counts[-1]}."
        for step, (before, after) in zip(steps, pairwise(counts), strict=True):
            change = after - before
            assert step == f"{before} {'+' if change > 0 else '-'} {abs(change)} = {after}"
        assert parse_answer(drawn.solution) == drawn.answer


def test_held_out_problems_are_different_and_always_the_same() -> None:
    found = held_out(500)
    assert len({problem.question for problem in found}) == 500
    assert found[:50] == held_out(50)
    assert found[0] == next(problems(HELD_OUT_SEED))


def test_training_never_sees_a_held_out_question() -> None:
    reserved = {problem.question for problem in held_out(RESERVED)}
    drawn = {problem.question for problem in islice(problems(1), 20_000)}
    trained = {problem.question for problem in islice(training_problems(1), 20_000)}
    assert drawn & reserved, "the seeds' questions meet by chance: without the filter this test would show nothing"
    assert not trained & reserved


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Start: 3. 3 + 4 = 7. The answer is 7.", 7),
        ("The answer is -2.", -2),
        ("The answer is 12. The answer is 13.", 12),
        ("The answer is 1 2.", None),
        ("The answer is 12", None),
        ("the answer is twelve.", None),
        ("", None),
    ],
)
def test_parse_answer(text: str, answer: int | None) -> None:
    assert parse_answer(text) == answer
