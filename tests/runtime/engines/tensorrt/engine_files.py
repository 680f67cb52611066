"""Bundles of a few bytes, and engines in them, for the tests that only read fingerprints and hashes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from dllm_edge.graphs.contract import Profile
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.bundle.manifest import FileRecord, GraphFile, Manifest
from dllm_edge.runtime.engines.profiles import Workload
from dllm_edge.runtime.engines.tensorrt.engine_folder import EngineFolder, engine_file_name, engine_folder_path
from dllm_edge.runtime.engines.tensorrt.fingerprint import Flags, fingerprint_of, write_fingerprint

from ...numpy_engine import ENDLESS

WORKLOAD = Workload((Profile(1, 4, 16, 4), Profile(1, 16, 1, 4)), (16,), ((16, 8),))
GRAPHS = {
    "step": GraphFile("step.onnx", "fused", "float16", 23),
    "saliency": GraphFile("saliency.onnx", "portable", "float16", 18),
    "select": GraphFile("select.onnx", "portable", "float16", 18),
}


def record(content: bytes) -> FileRecord:
    return FileRecord(hashlib.sha256(content).hexdigest(), len(content))


def small_bundle(folder: Path) -> Bundle:
    contents = {graph.file: graph.file.encode() for graph in GRAPHS.values()} | {
        "weights/model.safetensors": b"weights",
        "tokenizer.json": b"{}",
        "decoding.json": b"{}",
    }
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    files = {name: record(content) for name, content in contents.items()}
    graphs = {name: [graph] for name, graph in GRAPHS.items()}
    manifest = Manifest("numpy", ENDLESS, (0,), 32, "float16", "float16", graphs, {}, files)
    (folder / "manifest.json").write_text(json.dumps(manifest.to_json()))
    return Bundle.open(folder)


def add_engine(
    bundle: Bundle, runtime: str = "tensorrt", version: str = "10.16.1", sm: str = "sm87", **fields: Any
) -> EngineFolder:
    """Write an engine whose plans hold their own names; `fields` are those of the fingerprint that are otherwise."""
    fingerprint = fingerprint_of(bundle, runtime, version, (sm,), GRAPHS, WORKLOAD, Flags())
    plans = {engine_file_name(name): record(name.encode()) for name in GRAPHS}
    fingerprint = replace(fingerprint, plans=plans, **fields)
    place = engine_folder_path(bundle, fingerprint)
    place.mkdir(parents=True)
    for name in GRAPHS:
        (place / engine_file_name(name)).write_bytes(name.encode())
    write_fingerprint(place, fingerprint)
    return EngineFolder(place, fingerprint)
