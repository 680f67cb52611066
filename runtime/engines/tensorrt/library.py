"""TensorRT and TensorRT for RTX as Python modules, and all that differs between their versions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from typing import Any

from ....graphs.errors import DllmEdgeError, unknown
from ..support import row_of, rows_of, version_of

TITLES = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}
RUNTIMES = tuple(TITLES)
MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
REMEDIES = {
    "tensorrt": "install it with pip install tensorrt; on a Jetson it is a system package (apt install tensorrt), which a "
    "virtual environment sees if it was made with --system-site-packages",
    "tensorrt-rtx": "install it with pip install tensorrt-rtx",
}

# The first release whose parser takes these graphs.
PORTABLE = min(row.first for row in rows_of("tensorrt"))
# The first release whose networks are strongly typed without a flag.
TYPED = (11, 0)


@dataclass(frozen=True)
class Library:
    """One of `RUNTIMES`: its full version, as `10.3.0`, and its module."""

    name: str
    version: str
    module: Any

    @property
    def title(self) -> str:
        """As its makers write it, with the version."""
        return f"{TITLES[self.name]} {self.version}"

    @property
    def release(self) -> tuple[int, int]:
        return _release(self.version)

    @property
    def flavours(self) -> tuple[str, ...]:
        """Those that its parser takes, the better first."""
        return row_of(self.name, self.release).flavours

    @property
    def names_targets(self) -> bool:
        """Whether it builds for named compute capabilities; otherwise for the GPU that is present."""
        return self.name == "tensorrt-rtx"

    @property
    def keeps_timings(self) -> bool:
        """Whether it times kernels during a build, so that a timing cache holds something."""
        return self.name == "tensorrt"

    @cached_property
    def logger(self) -> Any:
        """The one logger of all that is made with this library; it keeps its errors in `messages`."""
        return _logger(self.module)

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Return what a function of the library answers; None where it failed, which it says by None, by False or by raising.

        What it logs as an error counts where it fails alone: a build logs each tactic that it skips as one, and succeeds.
        """
        messages: list[str] = self.logger.messages
        messages.clear()
        try:
            answer = function(*arguments, **options)
        except (RuntimeError, TypeError) as error:
            messages[:] = messages or [str(error)]
            return None
        if answer is None or answer is False:
            return None
        messages.clear()
        return answer

    def make(self, kind: str) -> Any:
        """Make a `Builder` or a `Runtime`; raises `DllmEdgeError` where the library does not start, as without a driver."""
        made = self.call(getattr(self.module, kind), self.logger)
        if made is None:
            raise DllmEdgeError(f"{self.title} does not start ({self.last_error()}): run 'dllm-edge doctor'")
        return made

    def last_error(self) -> str:
        """Return what a call that failed last logged as an error, once; empty where it logged nothing."""
        messages: list[str] = self.logger.messages
        last = messages[-1] if messages else ""
        messages.clear()
        return " ".join(last.split())

    def create_network(self, builder: Any) -> Any:
        """Make a network whose dtypes are those of its ONNX graph."""
        if self.name == "tensorrt-rtx" or self.release >= TYPED:
            return builder.create_network()
        return builder.create_network(1 << int(self.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED))

    def configure(self, config: Any) -> None:
        """Set what lets steps be recorded: memory for kernels comes from us alone."""
        if self.name == "tensorrt-rtx":
            config.set_flag(self.module.BuilderFlag.REQUIRE_USER_ALLOCATION)

    def context_options(self, engine: Any) -> Any:
        """Return what the contexts of an engine are created with: without memory of their own.

        TensorRT-RTX compiles kernels when a shape first runs: once for all contexts, and at once instead of in the background,
        or what is recorded then would be their makeshifts.
        """
        strategy = self.module.ExecutionContextAllocationStrategy.USER_MANAGED
        if self.name != "tensorrt-rtx":
            return strategy
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy)
        config.dynamic_shapes_kernel_specialization_strategy = self.module.DynamicShapesKernelSpecializationStrategy.EAGER
        config.set_runtime_cache(config.create_runtime_cache())
        return config

    def known_targets(self) -> list[str]:
        """Return the compute capabilities that can be named and that it runs on, as `sm86`."""
        names = self.module.ComputeCapability.__members__ if self.names_targets else ()
        row = row_of(self.name, self.release)
        return [name.lower() for name in names if name.startswith("SM") and row.runs_on(version_of(name.lower()))]

    def set_targets(self, config: Any, targets: tuple[str, ...]) -> None:
        if not self.names_targets:
            return
        config.num_compute_capabilities = len(targets)
        for index, target in enumerate(targets):
            config.set_compute_capability(self.module.ComputeCapability.__members__[target.upper()], index)

    def decompose_attention(self, network: Any) -> None:
        """Let attention be computed by several kernels: in float32 there is no single one for it."""
        boundaries = (self.module.LayerType.ATTENTION_INPUT, self.module.LayerType.ATTENTION_OUTPUT)
        for index in range(network.num_layers):
            layer = network.get_layer(index)
            if layer.type in boundaries:
                # The bindings hand out a layer of the base class.
                layer.__class__ = self.module.IAttentionBoundaryLayer
                layer.attention.decomposable = True


@cache
def find_library(name: str) -> Library:
    """Import the library `tensorrt` or `tensorrt-rtx`; raises `DllmEdgeError` where it is not there, or too old."""
    if name not in MODULES:
        raise unknown("runtime", name, RUNTIMES)
    try:
        module = import_module(MODULES[name])
    except ImportError as error:
        reason = "is not installed" if getattr(error, "name", None) == MODULES[name] else f"cannot be loaded ({error})"
        raise DllmEdgeError(f"{TITLES[name]} {reason}: {REMEDIES[name]}") from error
    return library_of(name, module)


def library_of(name: str, module: Any) -> Library:
    version = str(getattr(module, "__version__", ""))
    if not re.match(r"\d+\.\d+", version):
        raise DllmEdgeError(f"{TITLES[name]} is installed, but incomplete (it names no version): {REMEDIES[name]}")
    if name == "tensorrt" and _release(version) < PORTABLE:
        raise DllmEdgeError(
            f"TensorRT {version} is too old, 10.3 is the first that takes these graphs: upgrade it (JetPack 6.2 has 10.3)"
        )
    return Library(name, version, module)


def _release(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _logger(module: Any) -> Any:
    class Logger(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.messages: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity.name in ("INTERNAL_ERROR", "ERROR"):
                self.messages.append(message)

    return Logger()
