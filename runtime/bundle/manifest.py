"""`manifest.json`: what a bundle says about itself."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...graphs.config import ModelConfig
from ...graphs.contract import CONTRACT_VERSION
from ...graphs.dtypes import FLOATS, DType
from ...graphs.errors import DllmEdgeError
from ...graphs.weight_formats import ALL_PLAIN, WeightFormats

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
SEAL = "manifest_sha256"


@dataclass(frozen=True)
class GraphFile:
    """One graph: `file` is its path within the bundle, `flavour` `fused` or `portable`, `compute` the dtype of its values."""

    file: str
    flavour: str
    compute: DType
    opset: int


@dataclass(frozen=True)
class FileRecord:
    """What a file was when it was written: its SHA-256 in hexadecimal, and its size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """The fields of `manifest.json`.

    `forbidden` ids are never among the `candidates` that a row of a step reports. `stored` is the dtype of weights where
    `weights` leaves them plain, which it does in bundles that lack it; `compute` is the dtype that graphs compute in, and
    where that is not float32, each has a twin that does. `graphs` are by name, `tools` the versions of what made the bundle,
    `files` all its files except the manifest, `engines/` and `reports/`.
    """

    family: str
    config: ModelConfig
    forbidden: tuple[int, ...]
    candidates: int
    stored: DType
    compute: DType
    graphs: dict[str, list[GraphFile]]
    tools: dict[str, str]
    files: dict[str, FileRecord]
    weights: WeightFormats = ALL_PLAIN
    schema_version: int = SCHEMA_VERSION
    contract_version: int = CONTRACT_VERSION

    def to_json(self) -> dict[str, Any]:
        """Return the fields with a hash over them, which `from_json` checks."""
        data = asdict(self) | {"config": self.config.to_json(), "forbidden": list(self.forbidden)}
        return data | {SEAL: _seal(data)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Manifest:
        """Read what `to_json` returned.

        Raises KeyError, TypeError, ValueError or `DllmEdgeError` for what is no manifest of this schema.
        """
        fields = {name: value for name, value in data.items() if name != SEAL}
        if data[SEAL] != _seal(fields):
            raise ValueError("its content does not match its own hash")
        fields["config"] = ModelConfig.from_json(fields["config"])
        fields["forbidden"] = tuple(fields["forbidden"])
        fields["graphs"] = {name: [GraphFile(**graph) for graph in graphs] for name, graphs in fields["graphs"].items()}
        fields["weights"] = WeightFormats.from_json(fields.get("weights", {}))
        fields["files"] = {name: FileRecord(**record) for name, record in fields["files"].items()}
        manifest = cls(**fields)
        if outside := [name for name in manifest.files if not _is_inside(name)]:
            raise ValueError(f"it names {outside[0]!r}, which is not inside the bundle")
        if {manifest.stored, manifest.compute} - set(FLOATS):
            raise ValueError(f"unknown types {manifest.stored}, {manifest.compute}")
        return manifest


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of the bundle in `folder`; raises `DllmEdgeError` where there is none that this version reads."""
    path = folder / MANIFEST
    data = _read_object(path)
    for field, known in (("schema_version", SCHEMA_VERSION), ("contract_version", CONTRACT_VERSION)):
        _check_version(path, field, data.get(field), known)
    try:
        return Manifest.from_json(data)
    except KeyError as error:
        raise damaged(path, f"it lacks {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise damaged(path, str(error)) from error


def damaged(path: Path, problem: str) -> DllmEdgeError:
    """Return the error that `path`, a file of a bundle, is damaged, and that exporting again mends it."""
    return DllmEdgeError(f"{path}: {problem}: the bundle is damaged, run 'dllm-edge export CHECKPOINT BUNDLE --overwrite'")


def _read_object(path: Path) -> dict[str, Any]:
    """Read the JSON object of a bundle's manifest; raises `DllmEdgeError` where it is none, or there is no bundle."""
    folder = path.parent
    if not folder.is_dir():
        raise DllmEdgeError(f"{folder}: there is no such bundle: make one with 'dllm-edge export CHECKPOINT {folder}'")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DllmEdgeError(
            f"{folder}: no bundle, it has no {MANIFEST}: make one with 'dllm-edge export CHECKPOINT BUNDLE'"
        ) from error
    except OSError as error:
        raise DllmEdgeError(f"{path}: cannot be read ({error.strerror}): check its permissions") from error
    except (ValueError, RecursionError) as error:
        raise damaged(path, "it is not valid JSON") from error
    if not isinstance(data, dict):
        raise damaged(path, "it is no JSON object")
    return data


def _check_version(path: Path, field: str, version: Any, known: int) -> None:
    """Raise `DllmEdgeError` unless `field` of the manifest at `path` is the version that is `known` here."""
    if not isinstance(version, int):
        raise damaged(path, f"it lacks {field}")
    if version > known:
        raise DllmEdgeError(
            f"{path}: {field} is {version}, this dllm-edge reads up to {known}: "
            "the bundle was made by a newer dllm-edge, upgrade this one with 'pip install --upgrade dllm-edge'"
        )
    if version < known:
        raise DllmEdgeError(
            f"{path}: {field} is {version}, this dllm-edge needs {known}: run 'dllm-edge export CHECKPOINT BUNDLE --overwrite'"
        )


def _seal(fields: dict[str, Any]) -> str:
    """Return a SHA-256 over all fields, in hexadecimal."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _is_inside(name: str) -> bool:
    """Return whether `name` is a path that stays within a folder, on every operating system."""
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts and name != "" and "\\" not in name
