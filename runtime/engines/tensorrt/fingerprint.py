"""What an engine was built from and for, beside its engine files, so that what does not fit is known before any is read."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

from ....graphs.contract import Flavour
from ....graphs.dtypes import FloatDType
from ....graphs.errors import DllmEdgeError, shown
from ....graphs.schema import Form, Range, read
from ....graphs.whole_file import write_json
from ...bundle.bundle import WEIGHTS, Bundle
from ...bundle.json_object import read_strict
from ...bundle.manifest import FileRecord, GraphFile, Sha256, is_inside
from ..profiles import Workload

FINGERPRINT = "fingerprint.json"
ENGINES = "engines"
SCHEMA_VERSION = 1
# To be raised with every change of how `export.tensorrt` compiles that no other field of a fingerprint tells.
RECIPE = 2


@dataclass(frozen=True)
class Flags:
    """`workspace` is the most bytes that a kernel may use beside its tensors, None: no limit; `decomposable` says whether
    attention may be computed by several kernels, `tf32` whether products of float32 may be of 10 bits."""

    optimization_level: Annotated[int, Range(0, 5)] = 3
    workspace: Annotated[int, Range(0)] | None = None
    decomposable: bool = False
    tf32: bool = False


@dataclass(frozen=True)
class Fingerprint:
    """The fields of `fingerprint.json`.

    `compute_capabilities` are those that the engine runs on, as `sm87`; `machine` is the processor, as `aarch64`; `graphs`
    the SHA-256 of each ONNX file by its name, `weights` one over those of all weight files; `plans` the engine files.
    """

    runtime: str
    version: str
    compute_capabilities: tuple[Annotated[str, Form("sm[0-9]+", "a compute capability, as sm87")], ...]
    machine: str
    flavour: Flavour
    compute: FloatDType
    graphs: dict[str, Sha256]
    weights: Sha256
    workload: Workload
    flags: Flags
    plans: dict[str, FileRecord] = field(default_factory=dict)
    recipe: int = RECIPE
    schema_version: int = SCHEMA_VERSION

    def same_build(self, other: Fingerprint) -> bool:
        """Return whether building for either would build the same."""
        return replace(self, plans={}) == replace(other, plans={})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Fingerprint:
        """Read what `to_json` returned; raises `DllmEdgeError` for what is no fingerprint of this schema."""
        if missing := [field.name for field in fields(cls) if field.name not in data]:
            raise DllmEdgeError(f"it lacks {missing[0]}")
        if isinstance(flags := data["flags"], dict):
            # Of those that do not say so, TensorRT's default is true.
            data = data | {"flags": {"tf32": True} | flags}
        fingerprint = read(cls, data)
        if fingerprint.schema_version != SCHEMA_VERSION:
            raise DllmEdgeError(f"its schema_version is {fingerprint.schema_version}, this dllm-edge reads {SCHEMA_VERSION}")
        if not fingerprint.compute_capabilities or not fingerprint.workload.profiles:
            raise DllmEdgeError("it names no compute capability, or no profile")
        if outside := [name for name in fingerprint.plans if not is_inside(name)]:
            raise DllmEdgeError(f"it names {shown(outside[0])}, which is not inside the engine folder")
        return fingerprint


def fingerprint_of(
    bundle: Bundle,
    runtime: str,
    version: str,
    compute_capabilities: tuple[str, ...],
    graphs: dict[str, GraphFile],
    workload: Workload,
    flags: Flags,
) -> Fingerprint:
    """Return that of an engine to be built here from these graphs, by name; it has no engine files yet."""
    step = graphs["step"]
    return Fingerprint(
        runtime=runtime,
        version=version,
        compute_capabilities=compute_capabilities,
        machine=platform.machine(),
        flavour=step.flavour,
        compute=step.compute,
        graphs={graph.file: bundle.manifest.files[graph.file].sha256 for graph in graphs.values()},
        weights=weights_digest(bundle),
        workload=workload,
        flags=flags,
    )


def weights_digest(bundle: Bundle) -> str:
    """Return the SHA-256 over the names and hashes of the weight files, by the manifest."""
    files = sorted((name, record.sha256) for name, record in bundle.manifest.files.items() if name.startswith(WEIGHTS))
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


def write_fingerprint(folder: Path, fingerprint: Fingerprint) -> None:
    write_json(folder / FINGERPRINT, fingerprint.to_json(), durable=False)


def read_fingerprint(folder: Path) -> Fingerprint | None:
    """Return that of the engine in `folder`, or None where it cannot be read as one."""
    try:
        return Fingerprint.from_json(read_strict(folder / FINGERPRINT))
    except (OSError, ValueError, DllmEdgeError):
        return None
