"""The engine files of one engine on TensorRT, each profile with a context of its own, over one piece of scratch memory.

Nothing is deserialised before a step is wanted: what does not fit is known from the fingerprint.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ....graphs import contract
from ....graphs.errors import DllmEdgeError
from ...bundle.bundle import Bundle
from ..base import LoadedGraph
from ..device.base import Device, Launch, Memory
from ..device.memory import side_by_side
from ..profiles import Shapes
from .buffers import mapped_file
from .engine_folder import EngineFolder
from .library import Library


class TensorRTExecutor:
    """An `Executor` over the engine files in a folder; `stream` is that of `device`."""

    recordable, warm_ups = True, 1

    def __init__(self, library: Library, folder: EngineFolder, device: Device, stream: int, bundle: Bundle) -> None:
        self.library, self.folder, self.device, self.stream = library, folder, device, stream
        self.versions = {library.name: library.version}
        config, dtype = bundle.config, folder.fingerprint.compute
        self.shapes = folder.fingerprint.workload.shapes(config, dtype)
        self.specs = {graph: contract.interface(graph, config, dtype, bundle.manifest.candidates) for graph in self.shapes}
        self.engines: dict[str, Any] = {}
        self.options: dict[str, Any] = {}
        self.contexts: dict[tuple[str, int], Context] = {}
        self.spare: list[Memory] = []

    def prepare(self, graph: str, shapes: Shapes, addresses: dict[str, int], recorded: bool = False) -> Launch:
        profile = self.shapes[graph].index(shapes)
        # What was recorded from a context holds as long as nothing else is done with it.
        context = self._new_context(graph, profile) if recorded else self._context(graph, profile)
        all_addresses = addresses | self._discarded(graph, profile, addresses)

        def launch() -> None:
            if context.addresses is not all_addresses and not context.bind(all_addresses):
                raise self._failure(f"taking the tensors of {graph}")
            if not self.library.call(context.context.execute_async_v3, self.stream):
                raise self._failure(f"running {graph}")

        return launch

    def loaded(self, graph: str) -> LoadedGraph:
        return LoadedGraph(self.library.name, self.engine(graph))

    def engine(self, graph: str) -> Any:
        """Return the deserialised engine of a graph, loaded when it is first asked for."""
        if graph not in self.engines:
            path = self.folder.engine_file(graph)
            with mapped_file(path) as serialised:
                engine = self.library.call(self.runtime.deserialize_cuda_engine, serialised)
            if engine is None:
                raise self._failure(f"loading {path}")
            self._check(graph, engine)
            self.engines[graph], self.options[graph] = engine, self.library.context_options(engine)
        return self.engines[graph]

    def _check(self, graph: str, engine: Any) -> None:
        """Raise unless the engine has the tensors of the contract, and the profiles of its fingerprint."""
        names = {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}
        wanted = {spec.name for specs in self.specs[graph] for spec in specs}
        if names != wanted or engine.num_optimization_profiles != len(self.shapes[graph]):
            different = ", ".join(sorted(names ^ wanted)) or f"{engine.num_optimization_profiles} profiles"
            path = self.folder.engine_file(graph)
            raise DllmEdgeError(f"{path}: is not what was built ({different}): run 'dllm-edge build' again")

    @cached_property
    def runtime(self) -> Any:
        return self.library.make("Runtime")

    @cached_property
    def _scratch(self) -> Memory:
        """Memory for what the kernels of any profile need beside their tensors; steps run one after the other."""
        sizes = [
            engine.get_device_memory_size_for_profile_v2(profile)
            for engine in (self.engine(graph) for graph in self.shapes)
            for profile in range(engine.num_optimization_profiles)
        ]
        return self.device.allocate(max(sizes))

    def _discarded(self, graph: str, profile: int, addresses: dict[str, int]) -> dict[str, int]:
        """Return addresses for the outputs that nobody keeps: TensorRT writes them all, and none may lie over another."""
        specs = [spec for spec in self.specs[graph][1] if spec.name not in addresses]
        if not specs:
            return {}
        offsets, size = side_by_side(specs, self.folder.fingerprint.workload.profiles[profile].sizes())
        memory = next((memory for memory in self.spare if memory.nbytes >= size), None)
        if memory is None:
            memory = self.device.allocate(size)
            self.spare.append(memory)
        return {spec.name: memory.address + offset for spec, offset in zip(specs, offsets, strict=True)}

    def _context(self, graph: str, profile: int) -> Context:
        if (graph, profile) not in self.contexts:
            self.contexts[graph, profile] = self._new_context(graph, profile)
        return self.contexts[graph, profile]

    def _new_context(self, graph: str, profile: int) -> Context:
        call, engine = self.library.call, self.engine(graph)
        context = call(engine.create_execution_context, self.options[graph])
        if context is None or not call(context.set_optimization_profile_async, profile, self.stream):
            raise self._failure(f"making ready for profile {profile} of {graph}")
        context.set_device_memory(self._scratch.address, self._scratch.nbytes)
        for name, shape in self.shapes[graph][profile].items():
            if not call(context.set_input_shape, name, shape):
                raise self._failure(f"setting {name} to {shape}")
        return Context(context, self.library)

    def _failure(self, doing: str) -> DllmEdgeError:
        return DllmEdgeError(
            f"{self.library.title} failed {doing} ({self.library.last_error() or 'it gave no reason'}): "
            f"build again with 'dllm-edge build', or see what fits with 'dllm-edge plan'"
        )


@dataclass
class Context:
    """An execution context at its profile, and the addresses that it last ran with."""

    context: Any
    library: Library
    addresses: dict[str, int] | None = None

    def bind(self, addresses: dict[str, int]) -> bool:
        """Set the addresses of all tensors and return whether the context accepts them."""
        call, bind = self.library.call, self.context.set_tensor_address
        accepted = all(call(bind, name, address) for name, address in addresses.items())
        self.addresses = addresses if accepted else None
        return accepted
