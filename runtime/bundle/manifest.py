"""`manifest.json`: what a bundle says about itself."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from ...graphs.config import ModelConfig
from ...graphs.contract import CONTRACT_VERSION, GRAPHS, STEP, Flavour
from ...graphs.dtypes import FloatDType
from ...graphs.errors import DllmEdgeError, shown
from ...graphs.schema import Form, Range, read
from ...graphs.weight_formats import ALL_PLAIN, WeightFormats
from .json_object import read_strict

SCHEMA_VERSION = 1
MANIFEST, DECODING = "manifest.json", "decoding.json"
TOKENIZER, CHAT_TEMPLATE = "tokenizer.json", "chat_template.jinja"
REQUIRED = (TOKENIZER, DECODING)
SEAL = "manifest_sha256"
Sha256 = Annotated[str, Form("[0-9a-f]{64}", "a SHA-256 in hexadecimal")]


@dataclass(frozen=True)
class GraphFile:
    """One graph: `file` is its path within the bundle, `flavour` `fused` or `portable`, `compute` the dtype of its values."""

    file: str
    flavour: Flavour
    compute: FloatDType
    opset: Annotated[int, Range(1, 999)]


@dataclass(frozen=True)
class FileRecord:
    """What a file was when it was written: its SHA-256 in hexadecimal, and its size in bytes."""

    sha256: Sha256
    size: Annotated[int, Range(0, 1 << 62)]


@dataclass(frozen=True)
class Manifest:
    """The fields of `manifest.json`.

    `forbidden` ids are never among the `candidates` that a row of a step reports. `stored` is the dtype of weights where
    `weights` leaves them plain, which it does in bundles that lack it; `joined` says that weights of the same input are stored
    as one (`graphs.joined_weights`); `compute` is the dtype that graphs compute in, and
    where that is not float32, each has a twin that does. `graphs` are by name, `tools` the versions of what made the bundle,
    `files` all its files except the manifest, `engines/` and `reports/`: nothing else in its folder is ever read.
    """

    family: str
    config: ModelConfig
    forbidden: tuple[int, ...]
    candidates: Annotated[int, Range(1)]
    stored: FloatDType
    compute: FloatDType
    graphs: dict[str, list[GraphFile]]
    tools: dict[str, str]
    files: dict[str, FileRecord]
    weights: WeightFormats = ALL_PLAIN
    joined: bool = False
    schema_version: int = SCHEMA_VERSION
    contract_version: int = CONTRACT_VERSION

    @property
    def sha256(self) -> str:
        """A SHA-256 over all fields, and so over all files of the bundle, in hexadecimal."""
        return str(self.to_json()[SEAL])

    def to_json(self) -> dict[str, Any]:
        """Return the fields with a hash over them, which `from_json` checks."""
        data = asdict(self) | {"config": self.config.to_json(), "forbidden": list(self.forbidden)}
        return data | {SEAL: _seal(data)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Manifest:
        """Read what `to_json` returned; raises `DllmEdgeError` for what is no manifest of this schema."""
        fields = {name: value for name, value in data.items() if name != SEAL}
        manifest = read(cls, fields)
        if data.get(SEAL) != _seal(fields):
            raise DllmEdgeError("its content does not match its own hash")
        manifest.check()
        return manifest

    def check(self) -> None:
        """Raise `DllmEdgeError` for fields that contradict each other, or name what no bundle has."""
        self._check_ids()
        self._check_files()
        if self.family != self.config.family:
            raise DllmEdgeError(f"family is {shown(self.family)}, its config's {shown(self.config.family)}")
        self.weights.check(self.config)

    def _check_ids(self) -> None:
        vocabulary, forbidden = self.config.vocab_size, set(self.forbidden)
        if outside := [token for token in self.forbidden if not 0 <= token < vocabulary]:
            raise DllmEdgeError(f"it forbids the id {shown(outside[0])}, which is outside the vocabulary of {vocabulary}")
        if len(forbidden) < len(self.forbidden):
            raise DllmEdgeError("it forbids an id twice")
        if self.candidates > vocabulary - len(forbidden):
            raise DllmEdgeError(f"candidates is {shown(self.candidates)}, {vocabulary - len(forbidden)} ids are allowed")

    def _check_files(self) -> None:
        if outside := [name for name in self.files if not is_inside(name)]:
            raise DllmEdgeError(f"it names {shown(outside[0])}, which is not inside the bundle")
        for name, graphs in self.graphs.items():
            if name not in GRAPHS:
                raise DllmEdgeError(f"graphs.{shown(name)[1:-1]} is not a graph of this contract")
            if not graphs:
                raise DllmEdgeError(f"graphs.{name} names no graph")
            if len({(graph.flavour, graph.compute) for graph in graphs}) < len(graphs):
                raise DllmEdgeError(f"graphs.{name} has two of the same flavour and dtype")
        if STEP not in self.graphs:
            raise DllmEdgeError(f"graphs lacks {STEP}")
        needed = [*REQUIRED, *(graph.file for graphs in self.graphs.values() for graph in graphs)]
        if missing := [name for name in needed if name not in self.files]:
            raise DllmEdgeError(f"files lacks {shown(missing[0])}")


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of the bundle in `folder`; raises `DllmEdgeError` where there is none that this version reads."""
    path = folder / MANIFEST
    data = _read_object(path)
    for field, known in (("schema_version", SCHEMA_VERSION), ("contract_version", CONTRACT_VERSION)):
        _check_version(path, field, data.get(field), known)
    try:
        return Manifest.from_json(data)
    except DllmEdgeError as error:
        raise damaged(path, str(error)) from error


def damaged(path: Path, problem: str) -> DllmEdgeError:
    """Return the error that `path`, a file of a bundle, is damaged, and that exporting again mends it."""
    return DllmEdgeError(f"{path}: {problem}: the bundle is damaged, run 'dllm-edge export CHECKPOINT BUNDLE --overwrite'")


def _read_object(path: Path) -> dict[str, Any]:
    """Read the JSON object of a bundle's manifest; raises `DllmEdgeError` where it is none, or there is no bundle."""
    folder = path.parent
    if not os.path.isdir(folder):
        raise DllmEdgeError(f"{folder}: there is no such bundle: make one with 'dllm-edge export CHECKPOINT {folder}'")
    try:
        return read_strict(path)
    except FileNotFoundError as error:
        raise DllmEdgeError(
            f"{folder}: no bundle, it has no {MANIFEST}: make one with 'dllm-edge export CHECKPOINT BUNDLE'"
        ) from error
    except OSError as error:
        raise DllmEdgeError(f"{path}: cannot be read ({error.strerror}): check its permissions") from error
    except ValueError as error:
        raise damaged(path, str(error)) from error


def _check_version(path: Path, field: str, version: Any, known: int) -> None:
    """Raise `DllmEdgeError` unless `field` of the manifest at `path` is the version that is `known` here."""
    if not isinstance(version, int) or isinstance(version, bool):
        raise damaged(path, f"it lacks {field}")
    if version > known:
        raise DllmEdgeError(
            f"{path}: {field} is {shown(version)}, this dllm-edge reads up to {known}: "
            "the bundle was made by a newer dllm-edge, upgrade this one with 'pip install --upgrade dllm-edge'"
        )
    if version < known:
        raise DllmEdgeError(
            f"{path}: {field} is {shown(version)}, this dllm-edge needs {known}: "
            "run 'dllm-edge export CHECKPOINT BUNDLE --overwrite'"
        )


def _seal(fields: dict[str, Any]) -> str:
    """Return a SHA-256 over all fields, in hexadecimal."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def is_inside(name: str) -> bool:
    """Return whether `name` is a path that stays within a folder, on every operating system, and is written in one way only."""
    path = PurePosixPath(name)
    plain = str(path) == name and name.isprintable() and "\\" not in name
    return plain and not path.is_absolute() and ".." not in path.parts and path.parts != ()
