"""Write a selection of a system's published cases into `cases/`: those fields alone that are compared.

    .venv/bin/python -m tests.published.selection FOLDER SYSTEM [COUNT]

FOLDER holds the full files. A case is taken for the settings that no case before it has, until every value of every setting is
there, and then again from the start, until there are COUNT cases (20). A log of changes is cut after
20 forwards.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .cases import SELECTIONS, Json, read_file

FIELDS = ["checkpoint", "function", "api", "prompt", "settings", "final_ids", "generated_ids", "forwards"]
LOGS = ["order", "changes", "commits"]
COUNT, LOGGED = 20, 20


def selected(cases: Sequence[Json], count: int) -> list[int]:
    """Return the indices, ascending, of `count` cases spread over the values of their settings; of equals the shortest."""
    left, seen, taken = list(range(len(cases))), set[str](), list[int]()
    while left and len(taken) < count:
        best = max(left, key=lambda index: (len(_traits(cases[index]) - seen), -cases[index]["forwards"]))
        if seen and _traits(cases[best]) <= seen:
            seen = set()
            continue
        left.remove(best)
        taken.append(best)
        seen |= _traits(cases[best])
    return sorted(taken)


def _traits(case: Json) -> set[str]:
    """Return a case's settings, function, prompt and checkpoint, each with its value."""
    named = {name: case.get(name) for name in ("checkpoint", "function", "api", "prompt")} | case["settings"]
    return {f"{name}={value}" for name, value in named.items()}


def reduced(case: Json) -> Json:
    """Return the fields of a case that are compared; of a long log of changes its beginning, and the hash of all."""
    kept = {name: case[name] for name in (*FIELDS, *LOGS) if name in case}
    long = len(case.get("changes", [])) > LOGGED
    if long:
        kept["changes"] = case["changes"][:LOGGED]
    return kept | ({"log_cut": True, "steps_sha256": case["steps_sha256"]} if long or case.get("log_cut") else {})


def write_selection(folder: Path, system: str, count: int = COUNT) -> Path:
    """Write the selection of a system's full file in `folder`, one case a line, and return its path."""
    content = read_file(folder, system)
    content["total"] = len(content["cases"])
    cases = [{"number": index, **reduced(content["cases"][index])} for index in selected(content["cases"], count)]
    shared = [f"{_compact(name)}:{_compact(content[name])}" for name in ("system", "total", "prompts") if name in content]
    lines = ",\n".join(map(_compact, cases))
    path = SELECTIONS / f"{system}.json"
    path.write_text("{" + ",\n".join([*shared, f'"cases":[\n{lines}\n]']) + "}\n", encoding="utf-8")
    return path


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def main(arguments: Sequence[str]) -> None:
    folder, system, *count = arguments
    path = write_selection(Path(folder), system, *map(int, count))
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
