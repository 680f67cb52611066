"""Try every mutant of a list in copies of the tree, and keep what is found."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from queue import SimpleQueue

from .mutant import Mutant
from .results import Result, Results
from .stages import stages, tests_hash
from .tree import Tree

LEAST_LIMIT = 60.0  # seconds; a slow machine is no defect
SLOWER = 5.0  # times what the tests take without a defect


class Limits:
    """How long each run of tests may take, from how long it takes without a defect, in seconds."""

    def __init__(self) -> None:
        self.limits: dict[tuple[str, ...], float] = {}
        self.lock = threading.Lock()

    def limit(self, tree: Tree, paths: list[str]) -> float:
        """Return the limit for `paths`; they have to pass in `tree`, which has no defect in it."""
        with self.lock:
            if tuple(paths) not in self.limits:
                begun = time.monotonic()
                failure = tree.first_failure(paths, limit=1800.0)
                if failure is not None:
                    sys.exit(f"mutants: {failure} fails without a defect; mend that first")
                self.limits[tuple(paths)] = max(LEAST_LIMIT, SLOWER * (time.monotonic() - begun))
            return self.limits[tuple(paths)]


def run(root: Path, mutants: list[Mutant], folder: Path, workers: int) -> Iterator[tuple[Result, bool]]:
    """Yield a result for each mutant, and whether it was known before; the others are tried by `workers` at a time.

    `folder` gets the results (`results.jsonl`) and the copies of the tree.
    """
    results, limits = Results(folder / "results.jsonl"), Limits()
    unknown = []
    for mutant in mutants:
        known = results.find(mutant.key((root / mutant.file).read_bytes()), hashes(root, mutant))
        if known is None:
            unknown.append(mutant)
        else:
            yield known, True
    trees: SimpleQueue[Tree] = SimpleQueue()
    for worker in range(min(workers, len(unknown))):
        tree = Tree(folder / f"tree-{worker}")
        tree.fill(root)
        trees.put(tree)

    def tried(mutant: Mutant) -> Result:
        tree = trees.get()
        try:
            return outcome(tree, mutant, limits)
        finally:
            trees.put(tree)

    with ThreadPoolExecutor(max(1, workers)) as pool:
        for result in pool.map(tried, unknown):
            results.add(result)
            yield result, False


def hashes(root: Path, mutant: Mutant) -> list[str]:
    """Return the hash of the tests that a mutant has met after each of its runs."""
    runs = stages(root, mutant.file)
    return [tests_hash(root, list(chain(*runs[: count + 1]))) for count in range(len(runs))]


def outcome(tree: Tree, mutant: Mutant, limits: Limits) -> Result:
    """Return what the tests of a mutant's file make of it, run by run until one fails."""
    source = (tree.package / mutant.file).read_bytes()
    met, begun = hashes(tree.package, mutant), time.monotonic()
    tests, failure = "", None
    for tests, paths in zip(met, stages(tree.package, mutant.file), strict=True):  # noqa: B007 - used below
        failure = tree.failure(mutant, paths, limits.limit(tree, paths))
        if failure is not None:
            break
    before, after = mutant.lines(source)
    seconds = round(time.monotonic() - begun, 1)
    return Result(mutant.key(source), tests, mutant.file, mutant.line, mutant.operator, before, after, failure, seconds)
