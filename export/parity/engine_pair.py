"""An engine, held against ONNX Runtime on a CPU over the bundle's float32 graph; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import onnxruntime

from ...graphs.contract import Profile
from ...graphs.errors import DllmEdgeError
from ...runtime.arrays import Array
from ...runtime.bundle.bundle import Bundle
from ...runtime.engines.base import Engine, LoadedGraph
from ...runtime.engines.open import open_engine
from ...runtime.generate import Model
from .differences import TOLERANCES
from .engine_runner import engine_runner
from .examples import PROFILES
from .report import Level
from .runner import LayerFinding, StepComparison, StepRunner

VERSIONS = ("dllm-edge", "numpy", "polygraphy")


class EnginePair:
    """A bundle's engine, beside its device loop at the layers level; `threads` are the reference's.

    The reference takes 4 bytes of memory a weight on the host.
    """

    reference_title = "ONNX Runtime on a CPU in float32"
    takes_all_sizes = False

    def __init__(self, subject: Model, threads: int = 0) -> None:
        self.subject, self.threads = subject, threads
        self.bundle, self.compute_dtype = subject.bundle, subject.engine.cache_dtype
        self.subject_name = subject.engine.name
        self.title = f"{self.subject_name} in {self.compute_dtype}"
        self.report_file = f"validate-{self.subject_name}-{self.compute_dtype}.json"

    @cached_property
    def reference(self) -> Model:
        return Model(self.bundle, open_engine(self.bundle, "onnxruntime", "cpu", self.threads))

    def check(self) -> None:
        loaded_step(self.subject.engine)

    def versions(self) -> dict[str, str]:
        libraries = {"onnxruntime": onnxruntime.__version__, **self.subject.engine.versions}
        return libraries | {name: _version(name) for name in VERSIONS}

    def structure(self) -> Level:
        """Read the bundle's files again. Whether the engine is of this bundle was checked when it was opened."""
        Bundle.open(self.bundle.path, verify=True)
        count = len(self.bundle.manifest.files)
        return Level("structure", True, [f"{count} files of the bundle: hashes as the manifest has them"])

    def comparisons(self) -> Sequence[StepComparison]:
        """One for each profile that the engine was built for, or for a few of an engine that takes any."""
        engine = self.subject.engine
        profiles = engine.sizes.profiles or [engine.profile(profile) for profile in PROFILES]
        return [
            StepComparison(_sizes(profile), self.compute_dtype, [profile], partial(self._runner, index))
            for index, profile in enumerate(profiles)
        ]

    def _runner(self, profile: int) -> StepRunner:
        return engine_runner(self.bundle, loaded_step(self.subject.engine), self.compute_dtype, profile)

    def run_reference(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return engine_runner(self.bundle, loaded_step(self.reference.engine), "float32")(inputs)

    def layers_json(self, findings: Sequence[LayerFinding]) -> dict[str, Any]:
        records = [{"profile": vars(one.comparison.profiles[0])} | one.to_json() for one in findings]
        return {"tolerance": TOLERANCES[self.compute_dtype], "profiles": records}


def loaded_step(engine: Engine) -> LoadedGraph:
    """Return what runs the engine's step; raises `DllmEdgeError` where no library holds a graph."""
    loaded = engine.loaded_step()
    if loaded is None:
        raise DllmEdgeError(f"engine '{engine.name}' has no sessions or plans to compare: validate another")
    return loaded


def _sizes(profile: Profile) -> str:
    return f"{profile.batch} x {profile.queries} tokens over {profile.capacity} slots, {profile.rows} logit rows"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
