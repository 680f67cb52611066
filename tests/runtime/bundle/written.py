"""A bundle of arbitrary content, and what may happen to its files: the runtime's tests run where nothing can be exported."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.bundle.manifest import FileRecord, GraphFile, Manifest
from dllm_edge.runtime.bundle.verified import sha256_of

CONFIG = ModelConfig("llada", 300, 64, 96, 2, 4, 2, 16, 1e4, 1e-5, 512, "bidirectional", (1, 7), mask_token_id=2)
GRAPHS = [
    GraphFile("step.onnx", "fused", "bfloat16", 23),
    GraphFile("step.float32.onnx", "fused", "float32", 23),
    GraphFile("step.portable.float32.onnx", "portable", "float32", 18),
]
WEIGHTS = "weights/model-00001-of-00001.safetensors"
FILES = {
    WEIGHTS: b"0123456789" * 20_000,
    "step.onnx": b"a graph",
    "step.float32.onnx": b"another",
    "step.portable.float32.onnx": b"a third",
    "tokenizer.json": b"{}",
    "decoding.json": b'{"defaults": {"block_length": 32}, "systems": {}}',
}


def write_bundle(folder: Path) -> None:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    files = {name: FileRecord(sha256_of(folder / name), len(content)) for name, content in FILES.items()}
    manifest = Manifest("llada", CONFIG, (2,), 32, "bfloat16", "bfloat16", {"step": GRAPHS}, {"torch": "2.13.0"}, files)
    (folder / "manifest.json").write_text(json.dumps(manifest.to_json()))


def refusal(folder: Path, verify: bool = False) -> str:
    """Return the one line that says why the bundle does not open."""
    with pytest.raises(DllmEdgeError) as caught:
        Bundle.open(folder, verify)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change_manifest(folder: Path, **fields: Any) -> None:
    data = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(data | fields))


def flip(file: Path, index: int = -1) -> None:
    """Change one bit of the byte at `index`, and leave size and time as they were."""
    state, content = file.stat(), bytearray(file.read_bytes())
    content[index] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
