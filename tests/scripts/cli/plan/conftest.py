from __future__ import annotations

import json
from pathlib import Path

import pytest

from dllm_edge.scripts.checkpoints.random_llada import SCALES, llada_config


@pytest.fixture
def llada(tmp_path: Path) -> Path:
    """A folder with LLaDA 8B's `config.json` and nothing else."""
    (tmp_path / "config.json").write_text(json.dumps(llada_config(SCALES["8b"])))
    return tmp_path
