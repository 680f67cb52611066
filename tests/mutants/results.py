"""What was found about each mutant, a line each as it comes, so that the next run goes on from there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from .stages import hash_of_tests, judges


@dataclass(frozen=True)
class Result:
    """What one run of tests made of a mutant: `killed_by` is the first test that failed, None where all passed.

    `tests` is the hash of the file of that test, or of all files that were run.
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
    """Results by mutant; `path` has a JSON object a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, list[Result]] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            result = Result(**json.loads(line))
            self.known.setdefault(result.key, []).append(result)

    def find(self, root: Path, key: str, paths: list[str]) -> Result | None:
        """Return what is known of a mutant from a run of `paths`: None where the tests that said so have changed.

        What another run's test has killed is killed.
        """
        for result in self.known.get(key, []):
            if result.tests == hash_of_tests(root, judges(result.killed_by, paths)):
                return result
        return None

    def add(self, result: Result) -> None:
        self.known.setdefault(result.key, []).append(result)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(result)) + "\n")
