from __future__ import annotations

from pathlib import Path

from ..conftest import Command, parsed
from .decodes import FIELDS


def test_bench_compares_systems(command: Command, bundle: Path) -> None:
    names = ["vanilla", "fast-dllm-dual"]
    arguments = ("bench", bundle, "--task", "arithmetic", "--limit", "1", "--gen-length", "32", "--systems", ",".join(names))
    data = parsed(command(*arguments, "--json")[1])
    assert [system["system"] for system in data["systems"]] == names
    assert all(set(system) >= FIELDS for system in data["systems"])
    code, out, _ = command(*arguments)
    assert code == 0
    assert "1.00x" in out
