"""A bundle's engine on TensorRT: plans at their profiles, one context each, over one piece of scratch memory.

Nothing is deserialised before a step is wanted: what does not fit is known from the fingerprint.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from math import prod
from typing import Any

import numpy as np

from ...graphs import contract
from ...graphs.contract import ITEM_SIZES, TensorSpec
from ...graphs.errors import DllmEdgeError
from ..batch import fill_padding
from ..bundle import Bundle
from ..profiles import Shapes
from .base import Lanes
from .cuda import CudaDevice
from .device import Launch, Memory
from .device_engine import DeviceEngine
from .engine_folder import EngineFolder, engines_of, find_engine
from .host import HEAD
from .sizes import FixedSizes
from .tensorrt_library import MODULES, Library, find_library


def open_tensorrt(bundle: Bundle, runtime: str | None = None, compute: str | None = None) -> DeviceEngine:
    """The engine of `bundle` for this machine's GPU and TensorRT; raises `DllmEdgeError` where none fits.

    `runtime` is `tensorrt` or `tensorrt-rtx`, by default the one that is installed and that the bundle has an engine of.
    """
    library = find_library(runtime or _installed(bundle))
    device = CudaDevice()
    return engine_over(
        bundle, library, device, find_engine(bundle, library.name, library.version, device.compute_capability, compute)
    )


def engine_over(bundle: Bundle, library: Library, device: CudaDevice, folder: EngineFolder) -> DeviceEngine:
    """The engine in `folder`, which is known to fit."""
    built = folder.fingerprint
    remedy = (
        f"run 'dllm-edge build {bundle.path} --runtime {library.name}' with the --systems, --context and settings of the decode"
    )
    executor = TensorRTExecutor(library, folder, device, bundle)
    candidates, sizes = bundle.manifest.candidates, FixedSizes(built.workload, remedy)
    return DeviceEngine(library.name, bundle.config, built.compute, candidates, device, executor, sizes)


def try_engine(engine: DeviceEngine) -> None:
    """Run one step of padding at each profile; raises `DllmEdgeError` where one does not run or gives no numbers."""
    sizes = engine.sizes
    assert isinstance(sizes, FixedSizes)
    for profile in sizes.workload.profiles:
        inputs = engine.inputs(profile)
        for row in range(profile.batch):
            fill_padding(inputs, row, profile)
        cache = engine.allocate(profile.batch, profile.capacity, bound=False, read=True) if profile.capacity > 1 else None
        outputs = engine.run(profile, Lanes(cache, 0, profile.batch) if cache else None)
        if not np.isfinite(outputs.logsumexp).all():
            raise DllmEdgeError(
                f"{engine.name}: a step of {profile.queries} tokens over {profile.capacity} slots gives no finite numbers: "
                "export with --dtype bfloat16, or build with --compute float32"
            )


def _installed(bundle: Bundle) -> str:
    here = [name for name, module in MODULES.items() if find_spec(module)]
    built = {engine.fingerprint.runtime for engine in engines_of(bundle)}
    return next((name for name in here if name in built), next(iter(here), "tensorrt"))


class TensorRTExecutor:
    """An `Executor` over the plans of one engine."""

    recordable = True

    def __init__(self, library: Library, folder: EngineFolder, device: CudaDevice, bundle: Bundle) -> None:
        self.library, self.folder, self.device = library, folder, device
        config, compute = bundle.config, folder.fingerprint.compute
        self.shapes = folder.fingerprint.workload.shapes(config, compute)
        self.specs = {graph: contract.interface(graph, config, compute, bundle.manifest.candidates) for graph in self.shapes}
        self.engines: dict[str, Any] = {}
        self.contexts: dict[tuple[str, int], _Context] = {}

    def prepare(self, graph: str, shapes: Shapes, addresses: dict[str, int]) -> Launch:
        context = self._context(graph, self.shapes[graph].index(shapes))
        unwanted = [spec.name for spec in self.specs[graph][1] if spec.name not in addresses]
        spare = {name: self._spare[place % 2].address for place, name in enumerate(unwanted)}
        everything = addresses | spare

        def launch() -> None:
            if context.addresses is not everything:
                context.bind(everything)
            if not context.context.execute_async_v3(self.device.stream):
                raise self._failure(f"running {graph}")

        return launch

    @cached_property
    def runtime(self) -> Any:
        return self.library.module.Runtime(self.library.logger)

    @cached_property
    def _spare(self) -> tuple[Memory, Memory]:
        """Room for keys and for values that nobody keeps: one layer's, which attention has read before the next's come."""
        past, new = self.specs["step"][0][HEAD:], self.specs["step"][1][HEAD:]
        assert len(past) == len(new)
        most = max(_nbytes(new[0], profile.sizes()) for profile in self.folder.fingerprint.workload.profiles)
        return self.device.allocate(most), self.device.allocate(most)

    @cached_property
    def _scratch(self) -> Memory:
        """What the kernels of any profile need beside their tensors; steps run one after the other."""
        sizes = [
            engine.get_device_memory_size_for_profile_v2(profile)
            for engine in (self.engine(graph) for graph in self.shapes)
            for profile in range(engine.num_optimization_profiles)
        ]
        return self.device.allocate(max(sizes))

    def engine(self, graph: str) -> Any:
        """The deserialised engine of a graph, loaded when it is first asked for."""
        if graph not in self.engines:
            file = self.folder.plan(graph)
            # Mapped, not read: on a device whose GPU shares the host's memory, a copy would take its place twice.
            with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as plan:
                engine = self.runtime.deserialize_cuda_engine(plan)
            if engine is None:
                raise self._failure(f"loading {file}")
            self.engines[graph] = engine
        return self.engines[graph]

    def _context(self, graph: str, profile: int) -> _Context:
        place = (graph, profile)
        if place not in self.contexts:
            engine, stream = self.engine(graph), self.device.stream
            context = engine.create_execution_context(self.library.module.ExecutionContextAllocationStrategy.USER_MANAGED)
            if context is None or not context.set_optimization_profile_async(profile, stream):
                raise self._failure(f"making ready for profile {profile} of {graph}")
            context.set_device_memory(self._scratch.address, self._scratch.nbytes)
            for name, shape in self.shapes[graph][profile].items():
                if not context.set_input_shape(name, shape):
                    raise self._failure(f"setting {name} to {shape}")
            self.contexts[place] = _Context(context)
        return self.contexts[place]

    def _failure(self, doing: str) -> DllmEdgeError:
        return DllmEdgeError(
            f"{self.library.title} failed {doing} ({self.library.last_error() or 'it gave no reason'}): "
            f"build again with 'dllm-edge build', or see what fits with 'dllm-edge plan'"
        )


@dataclass
class _Context:
    """An execution context at its profile, and the addresses that it last ran with."""

    context: Any
    addresses: dict[str, int] | None = None

    def bind(self, addresses: dict[str, int]) -> None:
        for name, address in addresses.items():
            self.context.set_tensor_address(name, address)
        self.addresses = addresses


def _nbytes(spec: TensorSpec, sizes: dict[str, int]) -> int:
    return prod(spec.sized(sizes)) * ITEM_SIZES[spec.dtype]
