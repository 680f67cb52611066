"""What was found about each mutant, a line each as it comes, so that the next run goes on from there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """What one run of tests made of a mutant: `killed_by` is the first test that failed, None where all passed.

    `tests` is the hash of the test files that were run.
    """

    key: str
    tests: str
    file: str
    line: int
    operator: str
    before: str
    after: str
    killed_by: str | None
    seconds: float


class Results:
    """Results by mutant and tests; `path` has a JSON object a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[tuple[str, str], Result] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            result = Result(**json.loads(line))
            self.known[result.key, result.tests] = result

    def add(self, result: Result) -> None:
        self.known[result.key, result.tests] = result
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(result)) + "\n")
