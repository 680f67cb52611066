from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .mutant import Mutant
from .operators import mutants_of
from .results import Result, Results
from .run import BrokenTestsError, Runner
from .stages import hash_of_tests, own_tests, wider_tests
from .tree import TIMED_OUT, Tree

FILE, OWN, WIDER = "runtime/numbers.py", "tests/runtime/test_numbers.py", "tests/runtime/test_generate.py"
LEAST, STEP = f"{OWN}::test_least", f"{WIDER}::test_step"


class QuickTree(Tree):
    """Runs the tests in this process, and notes which."""

    runs: list[str]

    def first_failure(self, paths: list[str], limit: float) -> str | None:
        self.runs.extend(paths)
        for path, _, only in (path.partition("::") for path in paths):
            names: dict[str, Any] = {}
            exec((self.package / FILE).read_text(), names)  # noqa: S102
            exec((self.package / path).read_text().partition("\n")[2], names)  # noqa: S102
            for name in [only] if only else [name for name in names if name.startswith("test_")]:
                if fails(names[name]):
                    return f"{path}::{name}"
        return None


def fails(test: Callable[[], None]) -> bool:
    try:
        test()
    except AssertionError:
        return True
    return False


@pytest.fixture
def tried(root: Path) -> Callable[..., tuple[list[Result], list[str]]]:
    """What comes of the mutants of the file, by line, and which tests were run for it; results are kept between calls."""

    def tried() -> tuple[list[Result], list[str]]:
        tree = QuickTree(root.parent / "tree")
        tree.fill(root)
        object.__setattr__(tree, "runs", [])
        mutants = mutants_of(FILE, (root / FILE).read_text())
        found = list(Runner(Results(root.parent / "results.jsonl"), [tree]).run(mutants))
        assert (tree.package / FILE).read_text() == (root / FILE).read_text()
        return sorted(found, key=lambda result: (result.line, result.after)), tree.runs

    return tried


def killers(found: list[Result]) -> list[str | None]:
    return [result.killed_by for result in found]


def test_defects_are_noticed_by_the_files_own_tests_or_by_wider_ones_or_survive(
    tried: Callable[..., tuple[list[Result], list[str]]],
) -> None:
    found, runs = tried()
    assert [(result.line, result.after, result.killed_by) for result in found] == [
        (2, "return a <= b", LEAST),
        (6, "return a + 2", STEP),
        (6, "return a - 1", STEP),
        (10, "return a + 1", None),
        (10, "return a - 2", None),
    ]
    # The own tests first, the wider ones for those that are left; what failed, once more without a defect.
    assert runs == [OWN, LEAST, *[OWN] * 4, WIDER, STEP, *[WIDER] * 3]


def test_what_is_known_is_not_run_again_until_the_file_or_its_tests_change(
    root: Path, tried: Callable[..., tuple[list[Result], list[str]]]
) -> None:
    found, _ = tried()
    assert tried() == (found, [])
    (root / WIDER).write_text((root / WIDER).read_text().replace("== 2", "in (0, 2)"))
    again, runs = tried()
    assert killers(again) == [LEAST, STEP, None, None, None]
    assert sorted(runs) == [*[WIDER] * 4, STEP]
    (root / FILE).write_text((root / FILE).read_text() + "\n\nBETWEEN = 0\n")
    assert len(tried()[1]) == 7 + 6


def test_what_a_test_killed_stays_so_whatever_becomes_of_the_others(
    root: Path, tried: Callable[..., tuple[list[Result], list[str]]]
) -> None:
    found, _ = tried()
    (root / OWN).write_text((root / OWN).read_text() + "\n")
    again, runs = tried()
    assert killers(again) == killers(found)
    assert runs == [OWN, LEAST, *[OWN] * 2]


def test_tests_that_fail_without_a_defect_are_no_judge(
    root: Path, tried: Callable[..., tuple[list[Result], list[str]]]
) -> None:
    (root / OWN).write_text((root / OWN).read_text().replace("not ", ""))
    with pytest.raises(BrokenTestsError, match=f"{LEAST} fails without a defect: mend that first"):
        tried()


def test_a_machine_that_has_become_slow_notices_nothing(root: Path) -> None:
    """What takes twice the limit without a defect, too, is given longer; what alone never ends has been noticed."""

    class SlowTree(Tree):
        def first_failure(self, paths: list[str], limit: float) -> str | None:
            needed = math.inf if "a <= b" in (self.package / FILE).read_text() else needs.pop(0) if needs else 1.0
            return None if needed <= limit else TIMED_OUT

    tree = SlowTree(root.parent / "tree")
    tree.fill(root)
    mutants = {mutant.lines((root / FILE).read_bytes())[1]: mutant for mutant in mutants_of(FILE, (root / FILE).read_text())}
    # Without a defect at first; then with one, without, and with it again.
    needs = [0.0, 100.0, 100.0, 100.0]
    runner = Runner(Results(root.parent / "results.jsonl"), [tree])
    assert killers(list(runner.run([mutants["return a + 2"]]))) == [None]
    assert killers(list(runner.run([mutants["return a <= b"]]))) == [TIMED_OUT]


def test_the_tests_of_a_file(root: Path) -> None:
    assert own_tests(root, FILE) == [OWN]
    assert own_tests(root, "runtime/other.py") == []
    assert wider_tests(root, FILE) == [WIDER]


@pytest.mark.parametrize(("paths", "same"), [([OWN], True), (["tests/runtime"], False), ([WIDER], False)])
def test_a_hash_is_of_all_files_that_were_run(root: Path, paths: list[str], same: bool) -> None:
    before = hash_of_tests(root, paths)
    (root / WIDER).write_text("")
    assert (hash_of_tests(root, paths) == before) is same


def test_a_mutant_is_known_by_its_file_and_what_it_makes_of_it() -> None:
    one = Mutant(FILE, 1, "any", 0, 1, "b")
    assert one.key(b"a") == Mutant(FILE, 3, "other", 0, 1, "b").key(b"a")
    assert len({one.key(b"a"), one.key(b"aa"), Mutant("other.py", 1, "any", 0, 1, "b").key(b"a")}) == 3
