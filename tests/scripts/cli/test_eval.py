from __future__ import annotations

from pathlib import Path

import pytest

from ..conftest import Command, parsed
from .decodes import BLOCKS, FIELDS, SHORT


def test_eval_has_the_fields_of_the_design(command: Command, bundle: Path) -> None:
    arguments = ("eval", bundle, "--task", "arithmetic", "--limit", "2", *SHORT, *BLOCKS, "--system", "sparse-dllm")
    code, out, err = command(*arguments, "--json")
    data = parsed(out)
    assert code == 0
    assert set(data) >= FIELDS
    assert data["samples"] == 2
    assert data["tokens_per_forward"] == pytest.approx(data["generated_tokens"] / data["forwards"])
    assert "arithmetic" in err
    code, out, _ = command(*arguments)
    assert code == 0
    assert "sparse-dllm" in out
