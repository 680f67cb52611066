"""Checkpoints of any content: they are exported whole, or refused with nothing left behind."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ..tiny import DIFFUSION_FAMILIES, write_tiny
from .budget import examples
from .damage import damaged_bytes, damaged_json, dumped
from .running import orderly
from .test_bundles import DECODE

JSON_FILES = ("config.json", "config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json")
WEIGHTS = "model-00001-of-00002.safetensors"


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {family: write_tiny(root / family, family, shards=2) for family in DIFFUSION_FAMILIES}


def copied(checkpoint: Path, folder: Path) -> Path:
    """Return a copy whose files are the checkpoint's own but for those that are written anew."""
    folder.mkdir()
    for file in checkpoint.iterdir():
        os.link(file, folder / file.name)
    return folder


def written(file: Path, content: bytes) -> None:
    file.unlink()
    file.write_bytes(content)


def exports(root: Path, *options: str) -> None:
    """Export what lies in `root`, which holds nothing else, and decode with what comes of it."""
    bundle = root / "bundle"
    if orderly("export", root / "checkpoint", bundle, "--flavour", "fused", *options):
        assert sorted(path.name for path in root.iterdir()) == ["bundle", "checkpoint"]
        orderly("run", bundle, *DECODE, "--json")
    else:
        assert [path.name for path in root.iterdir()] == ["checkpoint"]


@given(st.data())
@examples(40)
def test_configs_and_tokenizers(checkpoints: dict[str, Path], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as root:
        checkpoint = copied(checkpoints[data.draw(st.sampled_from(DIFFUSION_FAMILIES))], Path(root) / "checkpoint")
        file = checkpoint / data.draw(st.sampled_from(JSON_FILES))
        content = file.read_bytes()
        if data.draw(st.sampled_from(["json", "json", "bytes"])) == "json":
            written(file, dumped(data.draw(damaged_json(json.loads(content)))))
        else:
            written(file, data.draw(damaged_bytes(content)))
        exports(Path(root))
        if file.name == "config.json":
            orderly("plan", checkpoint, "--device", "orin-nano-8gb", "--json")


@given(st.data())
@examples(20)
def test_weights(checkpoints: dict[str, Path], data: st.DataObject) -> None:
    """A header with other names, types, shapes and offsets, over the same bytes or damaged ones."""
    with tempfile.TemporaryDirectory() as root:
        checkpoint = copied(checkpoints["llada"], Path(root) / "checkpoint")
        content = (checkpoint / WEIGHTS).read_bytes()
        size = int.from_bytes(content[:8], "little")
        header: Any = json.loads(content[8 : 8 + size])
        if data.draw(st.booleans()):
            changed = dumped(data.draw(damaged_json(header)))
            damaged = len(changed).to_bytes(8, "little") + changed + content[8 + size :]
        else:
            damaged = data.draw(damaged_bytes(content))
        written(checkpoint / WEIGHTS, damaged)
        exports(Path(root), *data.draw(st.sampled_from([(), ("--link",), ("--weights", "int8")])))
