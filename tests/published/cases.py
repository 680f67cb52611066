"""What the papers' released code gave on the tiny checkpoints: final ids, forwards, and what each forward changed.

A file a system: in `cases/` a selection; with `DLLM_EDGE_PUBLISHED` naming a folder of the full files, every case of those.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SELECTIONS = Path(__file__).parent / "cases"
FULL = "DLLM_EDGE_PUBLISHED"

Json = dict[str, Any]
Changes = dict[int, int | None]
"""Of one forward: the positions whose token it changed, and their ids after it (None: not recorded)."""


@dataclass(frozen=True, eq=False)
class Case:
    """One call of the released code: `number` counts the cases of the system's full file, and names the case.

    `ids` is the whole canvas at the end, `changes` what each forward changed: of a log that was cut the first alone, and then
    `steps_sha256` is the hash of all that were, as compact JSON of pairs of positions and ids.
    """

    system: str
    number: int
    checkpoint: str
    function: str
    prompt: list[int]
    settings: Json
    ids: list[int]
    forwards: int
    changes: list[Changes]
    steps_sha256: str | None

    def __str__(self) -> str:
        return f"{self.system}-{self.number}"


def read_cases(system: str) -> list[Case]:
    """Return a system's cases: those of the folder that `DLLM_EDGE_PUBLISHED` names, or the selection."""
    content = read_file(Path(os.environ.get(FULL) or SELECTIONS), system)
    prompts = content.get("prompts", [])
    return [_case(system, case.get("number", index), case, prompts) for index, case in enumerate(content["cases"])]


def read_file(folder: Path, system: str) -> Json:
    """Return the content of a system's file in a folder of selections or of full files."""
    content: Json = json.loads((folder / f"{system}.json").read_text(encoding="utf-8"))
    return content


def _case(system: str, number: int, case: Json, prompts: Sequence[list[int]]) -> Case:
    prompt = prompts[case["prompt"]] if prompts else case["prompt"]
    return Case(
        system,
        number,
        case["checkpoint"],
        case["function"] if "function" in case else case.get("api", ""),
        prompt,
        case["settings"],
        case["final_ids"] if "final_ids" in case else [*prompt, *case["generated_ids"]],
        case["forwards"],
        _changes(case),
        case["steps_sha256"] if case.get("log_cut") else None,
    )


def _changes(case: Json) -> list[Changes]:
    """Return what each forward changed, from any of the three forms in which the files have it."""
    if "commits" in case:
        return [dict(pairs) for pairs in case["commits"]]
    if "changes" in case:
        return [dict(zip(positions, ids, strict=True)) for positions, ids in case["changes"]]
    return [dict.fromkeys(positions) for positions in case["order"]]
