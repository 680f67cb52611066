"""Put defects into copies of the package, one at a time, and see whether a test notices (`make mutants`).

.venv/bin/python -m tests.mutants [--workers 2] [--every 20] [--seed 1] [--only runtime/engines]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import dllm_edge

from .results import Result, Results
from .run import BrokenTestsError, Runner
from .sample import sample
from .tree import Tree

ROOT = Path(dllm_edge.__file__).resolve().parent


def main() -> None:
    options = parsed(sys.argv[1:])
    trees = [Tree(options.folder / f"tree-{worker}") for worker in range(options.workers)]
    for tree in trees:
        tree.fill(ROOT)
    drawn = sample(trees[0].package, options.every, options.seed)
    mutants = [mutant for mutant in drawn if mutant.file.startswith(options.only)]
    print(f"{len(mutants)} mutants", flush=True)
    survivors: list[Result] = []
    try:
        for count, result in enumerate(Runner(Results(options.folder / "results.jsonl"), trees).run(mutants), start=1):
            print(f"{count}/{len(mutants)} {line(result)}", flush=True)
            survivors += [result] if result.killed_by is None else []
    except BrokenTestsError as error:
        sys.exit(f"mutants: {error}")
    print(f"killed {len(mutants) - len(survivors)} of {len(mutants)}; survivors:")
    for result in sorted(survivors, key=lambda one: (one.file, one.line)):
        print(line(result))


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Defects that tests should notice.")
    parser.add_argument("--workers", type=int, default=1, help="mutants that are tried at a time")
    parser.add_argument("--every", type=int, default=20, help="one of so many possible mutants of each file")
    parser.add_argument("--seed", type=int, default=1, help="another seed draws other mutants")
    parser.add_argument("--only", default="", help="files whose name begins so")
    parser.add_argument("--folder", type=Path, default=ROOT / ".mutants", help="results and copies of the tree")
    return parser.parse_args(arguments)


def line(result: Result) -> str:
    """Return a result as one line."""
    end = f"killed by {result.killed_by}" if result.killed_by else "SURVIVES"
    return f"{result.file}:{result.line} {result.operator}: {result.before}  ->  {result.after}: {end}"


if __name__ == "__main__":
    main()
