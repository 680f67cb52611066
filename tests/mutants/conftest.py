from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


def tests_of(name: str, asserted: str) -> str:
    return f"from dllm_edge.runtime.numbers import {name}\n\n\ndef test_{name}():\n    assert {asserted}\n"


SOURCE = "def least(a, b):\n    return a < b\n\n\ndef step(a):\n    return a + 1\n\n\ndef spare(a):\n    return a - 1\n"
FILES = {
    "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '--import-mode=importlib --confcutdir=tests'\n",
    "__init__.py": "",
    "runtime/__init__.py": "",
    "runtime/numbers.py": SOURCE,
    "tests/__init__.py": "",
    "tests/runtime/__init__.py": "",
    "tests/runtime/test_numbers.py": tests_of("least", "not least(1, 1)"),
    "tests/runtime/test_generate.py": tests_of("step", "step(1) == 2"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A package of one file of three functions: its own tests try the first, wider ones the second."""
    root = tmp_path / "clone"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return root
