"""The engines of a bundle: finding the one that fits this machine, or saying what does not and what to do."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ....graphs.errors import DllmEdgeError
from ...bundle.bundle import Bundle
from ...bundle.manifest import FileRecord
from ...bundle.verified import recall, remember, sha256_of
from .fingerprint import ENGINES, FINGERPRINT, Fingerprint, read_fingerprint, weights_digest
from .library import TITLES


@dataclass(frozen=True)
class EngineFolder:
    """A built engine: one engine file for each graph."""

    path: Path
    fingerprint: Fingerprint

    def engine_file(self, graph: str) -> Path:
        """Return the engine file of the graph `step`, `saliency` or `select`."""
        return self.path / engine_file_name(graph)


def engine_file_name(graph: str) -> str:
    return f"{graph}.plan"


def engine_folder_path(bundle: Bundle, fingerprint: Fingerprint) -> Path:
    """Return `engines/<runtime>-<version>-<sm>`, with its dtype at the end for a twin that does not compute in the bundle's."""
    parts = [fingerprint.runtime, fingerprint.version, "+".join(fingerprint.compute_capabilities)]
    twin = [] if fingerprint.compute == bundle.manifest.compute else [fingerprint.compute]
    return bundle.path / ENGINES / "-".join([*parts, *twin])


def engines_of(bundle: Bundle) -> list[EngineFolder]:
    """Return those whose fingerprint can be read; no engine file is opened."""
    folders = ((folder, read_fingerprint(folder)) for folder in _folders(bundle))
    return [EngineFolder(folder, fingerprint) for folder, fingerprint in folders if fingerprint is not None]


def find_engine(
    bundle: Bundle, runtime: str, version: str, compute_capability: str, compute_dtype: str | None = None
) -> EngineFolder:
    """Return the engine of `bundle` that runs here, undamaged, of the bundle as it is; raises `DllmEdgeError` if there is none.

    `version` is the runtime's and `compute_capability` (as `sm87`) the GPU's; `compute_dtype` is by default the bundle's.
    """
    compute_dtype = compute_dtype or bundle.manifest.compute
    engines = [engine for engine in engines_of(bundle) if engine.fingerprint.runtime == runtime]
    if not engines:
        raise _no_engine(bundle, runtime, compute_capability)
    for fits, complain in _requirements(version, compute_capability, compute_dtype):
        refused, engines = engines, [engine for engine in engines if fits(engine.fingerprint)]
        if not engines:
            command = _build_command(bundle, runtime, compute_capability, compute_dtype)
            raise DllmEdgeError(f"{refused[0].path}: {complain(refused[0].fingerprint)}: {command}")
    return _first_undamaged(bundle, engines)


def _first_undamaged(bundle: Bundle, engines: list[EngineFolder]) -> EngineFolder:
    # One that was built for this GPU alone before one for several.
    engines.sort(key=lambda engine: len(engine.fingerprint.compute_capabilities))
    undamaged = [engine for engine in engines if _problem(bundle, engine) is None]
    if not undamaged:
        check_engine(bundle, engines[0])
    return undamaged[0]


def check_engine(bundle: Bundle, engine: EngineFolder) -> None:
    """Raise `DllmEdgeError` unless the engine is of the bundle as it is, and its files are as they were built."""
    if problem := _problem(bundle, engine):
        built = engine.fingerprint
        command = _build_command(bundle, built.runtime, "+".join(built.compute_capabilities), built.compute)
        raise DllmEdgeError(f"{engine.path}: {problem}: {command}")


def _problem(bundle: Bundle, engine: EngineFolder) -> str | None:
    return _changed(bundle, engine.fingerprint) or _damaged_file(engine)


Requirement = tuple[Callable[[Fingerprint], bool], Callable[[Fingerprint], str]]
"""Whether a fingerprint meets it, and what to say where none does."""


def _requirements(version: str, compute_capability: str, compute_dtype: str) -> list[Requirement]:
    machine = platform.machine()
    return [
        (
            lambda built: built.compute == compute_dtype,
            lambda built: f"engine computes in {built.compute}, not in {compute_dtype}",
        ),
        (
            lambda built: built.machine == machine,
            lambda built: f"engine was built on {built.machine}; this machine is {machine}",
        ),
        (
            lambda built: compute_capability in built.compute_capabilities,
            lambda built: f"{_origin(built)}; this machine has {_sm(compute_capability)}",
        ),
        (lambda built: built.version == version, lambda built: f"{_origin(built)}; this machine has {version}"),
        (
            lambda built: not built.flags.tf32,
            lambda _: "engine was built with TF32, which rounds float32 to 10 bits: it cannot agree with the CPU's",
        ),
    ]


def _origin(built: Fingerprint) -> str:
    targets = ", ".join(map(_sm, built.compute_capabilities))
    return f"engine was built by {TITLES.get(built.runtime, built.runtime)} {built.version} for {targets}"


def _sm(compute_capability: str) -> str:
    return compute_capability.replace("sm", "sm_")


def _changed(bundle: Bundle, built: Fingerprint) -> str | None:
    files = bundle.manifest.files
    for name, sha256 in built.graphs.items():
        if name not in files or files[name].sha256 != sha256:
            return f"the bundle's {name} changed since this engine was built"
    if weights_digest(bundle) != built.weights:
        return "the bundle's weights changed since this engine was built"
    return None


def _damaged_file(engine: EngineFolder) -> str | None:
    for name, record in engine.fingerprint.plans.items():
        if problem := _damage(engine.path / name, record):
            return f"{name} {problem}"
    return None


def _damage(path: Path, record: FileRecord) -> str | None:
    try:
        state = path.stat()
        if state.st_size != record.size:
            return f"has {state.st_size} bytes, {record.size} were built"
        if recall(state) == record.sha256:
            return None
        if sha256_of(path) != record.sha256:
            return "changed since it was built (SHA-256 differs)"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        raise DllmEdgeError(f"{path}: cannot be read ({error.strerror}): check its permissions") from error
    remember(state, record.sha256)
    return None


def _no_engine(bundle: Bundle, runtime: str, compute_capability: str) -> DllmEdgeError:
    command = _build_command(bundle, runtime, compute_capability, bundle.manifest.compute)
    unreadable = [folder for folder in _folders(bundle) if read_fingerprint(folder) is None]
    if unreadable:
        return DllmEdgeError(f"{unreadable[0] / FINGERPRINT}: missing, damaged or of another version of dllm-edge: {command}")
    return DllmEdgeError(f"{bundle.path}: there is no engine for {TITLES.get(runtime, runtime)}: {command}")


def _folders(bundle: Bundle) -> list[Path]:
    engines = bundle.path / ENGINES
    return sorted(path for path in engines.iterdir() if path.is_dir() and path.name[0] != ".") if engines.is_dir() else []


def _build_command(bundle: Bundle, runtime: str, compute_capability: str, compute_dtype: str) -> str:
    targets = [f" --target {target}" for target in compute_capability.split("+")] if runtime == "tensorrt-rtx" else []
    twin = "" if compute_dtype == bundle.manifest.compute else f" --compute {compute_dtype}"
    return f"run 'dllm-edge build {bundle.path} --runtime {runtime}{''.join(targets)}{twin}'"
