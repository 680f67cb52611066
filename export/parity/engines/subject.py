"""The engine under test, as the layers level runs it: at its own profiles, beside the device loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

import onnxruntime

from ....graphs import contract
from ....graphs.contract import Profile
from ....graphs.dtypes import DType
from ....graphs.errors import DllmEdgeError
from ....runtime.bundle.bundle import Bundle
from ....runtime.engines.base import Engine
from ....runtime.engines.device.engine import DeviceEngine
from ....runtime.engines.fixed_sizes import FixedSizes
from ....runtime.engines.onnxruntime.cpu import OnnxRuntimeEngine
from ....runtime.engines.onnxruntime.executor import OnnxRuntimeExecutor
from ....runtime.engines.tensorrt.library import Library
from ..examples import PROFILES
from .runners import plan_runner, session_runner


class PlanExecutor(Protocol):
    """The executor of a TensorRT engine."""

    @property
    def library(self) -> Library: ...

    def engine(self, graph: str) -> Any:
        """The deserialised engine of a graph."""
        ...


class Subject:
    """A bundle's engine; raises `DllmEdgeError` for one that neither ONNX Runtime nor TensorRT runs."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        if not isinstance(engine, OnnxRuntimeEngine | DeviceEngine):
            raise DllmEdgeError(f"engine '{engine.name}' has no sessions or plans to compare: validate another")
        self.bundle, self.engine = bundle, engine
        self.compute: DType = engine.cache_dtype

    @property
    def profiles(self) -> Sequence[Profile]:
        """All that the engine was built for, or a few of an engine that takes any."""
        engine = self.engine
        if isinstance(engine, DeviceEngine) and isinstance(engine.sizes, FixedSizes):
            return engine.sizes.workload.profiles
        return [engine.profile(profile) for profile in PROFILES]

    def runner(self, profile: Profile) -> Any:
        """Polygraphy's runner of a step of this profile."""
        if session := self._session():
            return session_runner(session, self.bundle, self.compute)
        executor = self.plans
        assert executor
        specs = contract.interface("step", self.bundle.config, self.compute, self.bundle.manifest.candidates)
        return plan_runner(executor.library, executor.engine("step"), list(self.profiles).index(profile), specs)

    @property
    def plans(self) -> PlanExecutor | None:
        """What runs TensorRT's plans; None where sessions of ONNX Runtime run."""
        if self._session() or isinstance(self.engine, OnnxRuntimeEngine):
            return None
        return cast("PlanExecutor", self.engine.executor)

    def _session(self) -> onnxruntime.InferenceSession | None:
        if isinstance(self.engine, OnnxRuntimeEngine):
            return self.engine.session
        executor = self.engine.executor
        return executor.sessions["step"] if isinstance(executor, OnnxRuntimeExecutor) else None
