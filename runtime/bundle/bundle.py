"""A bundle on disk: opening it, and making sure that its files are what its manifest says."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...graphs.config import ModelConfig
from ...graphs.errors import DllmEdgeError
from .manifest import GraphFile, Manifest, damaged, read_manifest

WEIGHTS = "weights/"
DECODING = "decoding.json"
CHUNK = 4 << 20


@dataclass(frozen=True)
class Bundle:
    """An opened bundle. Nothing of it is in memory but its manifest."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path, verify: bool = False) -> Bundle:
        """Open the bundle in folder `path`; raises `DllmEdgeError` where it is missing, damaged or of another version.

        Sizes of all files and hashes of all small ones are checked each time. The weights' hashes are checked once and
        remembered for as long as the files keep their identity, size and time; with `verify`, they are checked again.
        """
        bundle = cls(path, read_manifest(path))
        for name in bundle.manifest.files:
            bundle.check_file(name, verify)
        return bundle

    @property
    def config(self) -> ModelConfig:
        return self.manifest.config

    @property
    def decoding(self) -> dict[str, Any]:
        """`decoding.json`: `defaults` for all systems, `systems` with those of each, and the `task` that they were made for."""
        try:
            data = json.loads((self.path / DECODING).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise damaged(self.path / DECODING, "it cannot be read as JSON") from error
        if not isinstance(data, dict):
            raise damaged(self.path / DECODING, "it is no JSON object")
        return data

    @property
    def task(self) -> str | None:
        """The task that the bundle is evaluated on where none is named, or None."""
        task = self.decoding.get("task")
        return task if isinstance(task, str) else None

    def graph(self, flavours: Sequence[str], compute: str, name: str = "step") -> GraphFile:
        """The graph of the first of `flavours`, in order of preference, that computes in `compute`."""
        graphs = self.manifest.graphs.get(name, [])
        for flavour in flavours:
            for graph in graphs:
                if graph.flavour == flavour and graph.compute == compute:
                    return graph
        held = ", ".join(f"{graph.flavour} in {graph.compute}" for graph in graphs) or "none"
        computes = dict.fromkeys(graph.compute for graph in graphs)
        if graphs and compute not in computes:
            remedy = f"use {' or '.join(computes)}"
        else:
            remedy = "export it again with the options that it had, --flavour both and --overwrite"
        wanted = f"a {name} graph that is {' or '.join(flavours)} in {compute}"
        raise DllmEdgeError(f"{self.path}: needs {wanted}, the bundle holds: {held}; {remedy}")

    def check_file(self, name: str, verify: bool) -> None:
        """Raise `DllmEdgeError` unless the file is what the manifest says; `verify` as in `open`."""
        file, record = self.path / name, self.manifest.files[name]
        try:
            state = file.stat()
            if state.st_size != record.size:
                raise damaged(file, f"it has {state.st_size} bytes, {record.size} were written")
            large = name.startswith(WEIGHTS)
            if large and not verify and recall(state) == record.sha256:
                return
            if sha256_of(file) != record.sha256:
                raise damaged(file, "its content changed since it was written (SHA-256 differs)")
        except FileNotFoundError as error:
            raise damaged(file, "it is missing") from error
        except OSError as error:
            raise DllmEdgeError(f"{file}: cannot be read ({error.strerror}): check its permissions") from error
        if large:
            remember(state, record.sha256)


def sha256_of(file: Path) -> str:
    """SHA-256 of a file in hexadecimal, read through one small buffer."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK))
    with file.open("rb", buffering=0) as stream:
        for count in _counts(stream.readinto, buffer):
            digest.update(buffer[:count])
    return digest.hexdigest()


def _counts(readinto: Any, buffer: memoryview) -> Iterator[int]:
    while count := readinto(buffer):
        yield count


def recall(state: os.stat_result) -> str | None:
    """The hash that a file of this identity, size and time had when it was last read."""
    try:
        return _memory(state).read_text(encoding="ascii")
    except (OSError, ValueError):
        return None


def remember(state: os.stat_result, sha256: str) -> None:
    """Keep a file's hash for `recall`; without a word where the user's cache folder cannot be written."""
    memory = _memory(state)
    partial = memory.with_name(f"{memory.name}.{os.getpid()}")
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(sha256, encoding="ascii")
        partial.replace(memory)
    except OSError:
        return


def _memory(state: os.stat_result) -> Path:
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    identity = f"{state.st_dev}-{state.st_ino}-{state.st_size}-{state.st_mtime_ns}"
    return Path(folder) / "dllm-edge" / "verified" / identity
