"""A bundle on disk: opening it, and making sure that its files are what its manifest says."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...graphs.config import ModelConfig
from ...graphs.errors import DllmEdgeError
from .decoding_defaults import read_defaults
from .json_object import read_strict
from .manifest import DECODING, MANIFEST, GraphFile, Manifest, damaged, read_manifest
from .verified import has_sha256, sha256_of

WEIGHTS = "weights/"
FOLDERS = ("engines", "reports")


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
        """The model's dimensions, from the manifest."""
        return self.manifest.config

    @property
    def decoding(self) -> dict[str, Any]:
        """`decoding.json`: `defaults` for all systems, `systems` with those of each, and the `task` that they were made for."""
        file = self.path / DECODING
        try:
            return read_defaults(read_strict(file))
        except OSError as error:
            raise damaged(file, f"it cannot be read ({error.strerror})") from error
        except (ValueError, DllmEdgeError) as error:
            raise damaged(file, str(error)) from error

    @property
    def ignored(self) -> list[str]:
        """The names of what lies in the folder and is not the bundle's: never read. Hidden files are not among them."""
        own = {MANIFEST, *FOLDERS, *(name.split("/")[0] for name in self.manifest.files)}
        return sorted(name for name in os.listdir(self.path) if name not in own and name[0] != ".")

    @property
    def task(self) -> str | None:
        """The task that the bundle is evaluated on where none is named, or None."""
        task = self.decoding.get("task")
        return task if isinstance(task, str) else None

    def graph(self, flavours: Sequence[str], compute: str, name: str = "step") -> GraphFile:
        """Return the graph `name` of the first of `flavours`, in order of preference, that computes in the dtype `compute`.

        Raises `DllmEdgeError` where the bundle has none of them.
        """
        graphs = self.manifest.graphs.get(name, [])
        for flavour in flavours:
            for graph in graphs:
                if graph.flavour == flavour and graph.compute == compute:
                    return graph
        needed = f"a {name} graph that is {' or '.join(flavours)} in {compute}"
        present = ", ".join(f"{graph.flavour} in {graph.compute}" for graph in graphs) or "none"
        raise DllmEdgeError(f"{self.path}: needs {needed}, the bundle holds: {present}; {_remedy(graphs, compute)}")

    def check_file(self, name: str, verify: bool) -> None:
        """Raise `DllmEdgeError` unless the file is what the manifest says; `verify` as in `open`."""
        file = self.path / name
        try:
            self._check_content(name, verify)
        except FileNotFoundError as error:
            raise damaged(file, "it is missing") from error
        except OSError as error:
            raise DllmEdgeError(f"{file}: cannot be read ({error.strerror}): check its permissions") from error

    def _check_content(self, name: str, verify: bool) -> None:
        """Check size and hash; raises `OSError` where the file cannot be read."""
        file, record = self.path / name, self.manifest.files[name]
        state = file.stat()
        if state.st_size != record.size:
            raise damaged(file, f"it has {state.st_size} bytes, {record.size} were written")
        large = name.startswith(WEIGHTS)
        intact = has_sha256(file, state, record.sha256, reread=verify) if large else sha256_of(file) == record.sha256
        if not intact:
            raise damaged(file, "its content changed since it was written (SHA-256 differs)")


def _remedy(graphs: Sequence[GraphFile], compute: str) -> str:
    """Return what to do where none of `graphs` is of a wanted flavour in the dtype `compute`."""
    dtypes = dict.fromkeys(graph.compute for graph in graphs)
    if graphs and compute not in dtypes:
        return f"use {' or '.join(dtypes)}"
    return "export it again with the options that it had, --flavour both and --overwrite"
