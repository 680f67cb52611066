"""Try every mutant of a list in copies of the tree, and keep what is found."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from queue import SimpleQueue

from .mutant import Mutant
from .results import Result, Results
from .stages import STAGES, hash_of_tests, judges
from .tree import TIMED_OUT, Tree

FIRST_LIMIT, LEAST_LIMIT = 600.0, 60.0  # seconds; a slow machine is no defect
SLOWER = 5.0  # times what the tests take where they all pass


class BrokenTestsError(Exception):
    """Tests that fail without a defect, which would notice every one."""


class Limits:
    """How long each run of tests may take, in seconds, by how long they took where all of them passed."""

    def __init__(self) -> None:
        self.limits: dict[tuple[str, ...], float] = {}

    def limit(self, paths: list[str]) -> float:
        return self.limits.get(tuple(paths), FIRST_LIMIT)

    def passed(self, paths: list[str], seconds: float) -> None:
        self.limits[tuple(paths)] = max(LEAST_LIMIT, SLOWER * seconds)

    def lengthen(self, paths: list[str]) -> float:
        """Return the limit for `paths`, which is twice as long from now on."""
        self.limits[tuple(paths)] = 2 * self.limit(paths)
        return self.limits[tuple(paths)]


class Runner:
    """Tries mutants, one at a time in each of the trees, which are equal; what is known of them is not tried again.

    Files are read in a tree, never where they were copied from: those may change while tests run.
    """

    def __init__(self, results: Results, trees: Sequence[Tree]) -> None:
        self.results, self.limits = results, Limits()
        self.root, self.workers = trees[0].package, len(trees)
        self.idle: SimpleQueue[Tree] = SimpleQueue()
        self.keys: dict[Mutant, str] = {}
        self.sound: set[str] = set()
        for tree in trees:
            self.idle.put(tree)

    def run(self, mutants: list[Mutant]) -> Iterator[Result]:
        """Yield each mutant's result: that of the run which killed it, or of the last, which it survived, as they come."""
        self.keys = {mutant: mutant.key((self.root / mutant.file).read_bytes()) for mutant in mutants}
        pool = ThreadPoolExecutor(self.workers)
        try:
            for stage in STAGES:
                paths = {mutant: stage(self.root, mutant.file) for mutant in mutants}
                jobs = {pool.submit(self.result, mutant, paths[mutant]): mutant for mutant in mutants if paths[mutant]}
                mutants = [mutant for mutant in mutants if not paths[mutant]]
                for job in as_completed(jobs):
                    result = job.result()
                    if result.killed_by is None and stage is not STAGES[-1]:
                        mutants.append(jobs[job])
                    else:
                        yield result
        finally:
            pool.shutdown(cancel_futures=True)

    def result(self, mutant: Mutant, paths: list[str]) -> Result:
        """Return what the tests `paths` make of a mutant."""
        known = self.results.find(self.root, self.keys[mutant], paths)
        if known is not None:
            return known
        tree = self.idle.get()
        try:
            found = self.trial(tree, mutant, paths)
        finally:
            self.idle.put(tree)
        self.results.add(found)
        return found

    def trial(self, tree: Tree, mutant: Mutant, paths: list[str]) -> Result:
        limit = self.limits.limit(paths)
        begun = time.monotonic()
        failure = tree.failure(mutant, paths, limit)
        while failure == TIMED_OUT and tree.first_failure(paths, limit / 2) == TIMED_OUT:
            # The machine has become slower than the limit allows for: that is no defect.
            limit = self.limits.lengthen(paths)
            failure = tree.failure(mutant, paths, limit)
        seconds = round(time.monotonic() - begun, 1)
        if failure is None:
            self.limits.passed(paths, seconds)
        elif failure != TIMED_OUT:
            self.check(tree, failure, paths)
        before, after = mutant.lines((tree.package / mutant.file).read_bytes())
        tests = hash_of_tests(self.root, judges(failure, paths))
        return Result(self.keys[mutant], tests, mutant.file, mutant.line, mutant.operator, before, after, failure, seconds)

    def check(self, tree: Tree, failure: str, paths: list[str]) -> None:
        """Raise `BrokenTestsError` where what failed with a defect fails without one, too."""
        # With all of its parameters, whose names a command line does not take as they are printed.
        failed = [failure.partition("[")[0]] if failure.startswith("tests/") else paths
        if failure not in self.sound:
            if (again := tree.first_failure(failed, FIRST_LIMIT)) is not None:
                raise BrokenTestsError(f"{again} fails without a defect: mend that first")
            self.sound.add(failure)
