"""Running the two forms of attention on ONNX Runtime or TensorRT, over memory of a device."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import onnxruntime

from ....export.tensorrt.options import BuildOptions, add_profiles, configuration
from ....export.tensorrt.targets import choose_targets
from ....graphs.errors import DllmEdgeError
from ....runtime.engines.device.base import Device, Launch, Memory
from ....runtime.engines.device.cuda import CudaDevice
from ....runtime.engines.onnxruntime.cuda import INSTALL, PROVIDER, cuda_provider
from ....runtime.engines.onnxruntime.executor import OnnxRuntimeExecutor
from ....runtime.engines.profiles import Shapes
from ....runtime.engines.tensorrt.library import Library, find_library
from .attention import FORMS, HEADS, Attention
from .job import BLOCK, Job

WARM_UP, ROUNDS, LAUNCHES = 3, 20, 32
Prepare = Callable[[bytes, Attention, Shapes, dict[str, int]], Launch]
"""Returns a launch of a graph over tensors at these addresses, its inputs of these shapes."""


def time_forms(device: Device, prepare: Prepare, attention: Attention, slots: int, rounds: int = ROUNDS) -> dict[str, float]:
    """Return the median seconds of each form: many launches, then one wait."""
    inputs, outputs = attention.specs()
    memory = {spec.name: device.allocate(spec.nbytes({"C": slots})) for spec in inputs + outputs}
    shapes = {spec.name: spec.sized({"C": slots}) for spec in inputs}
    addresses = {name: piece.address for name, piece in memory.items()}
    launches = {form: prepare(attention.graph(form).SerializeToString(), attention, shapes, addresses) for form in FORMS}
    seconds: dict[str, list[float]] = {form: [] for form in FORMS}
    for _ in range(WARM_UP + rounds):
        for form, launch in launches.items():
            started = time.perf_counter()
            for _ in range(LAUNCHES):
                launch()
            device.synchronise()
            seconds[form].append((time.perf_counter() - started) / LAUNCHES)
    return {form: median(times[WARM_UP:]) for form, times in seconds.items()}


def measure_attention(job: Job) -> list[dict[str, Any]]:
    """Return a row for each number of heads and of slots, both forms on the engine of the job."""
    device = CudaDevice()
    prepare = on_cuda_provider(device) if job.engine == "onnxruntime" else on_tensorrt(device, find_library(job.engine))
    rows = []
    for name, sizes in HEADS.items():
        attention = Attention(*sizes, BLOCK, job.compute)  # type: ignore[arg-type]
        for slots in job.contexts:
            seconds = time_forms(device, prepare, attention, slots)
            rows.append({"heads": name, "slots": slots, "seconds": seconds, "ratio": seconds[FORMS[0]] / seconds[FORMS[1]]})
    return rows


def on_onnxruntime(providers: list[Any], device: str) -> Prepare:
    def prepare(graph: bytes, attention: Attention, shapes: Shapes, addresses: dict[str, int]) -> Launch:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(graph, options, providers=providers)
        executor = OnnxRuntimeExecutor({"layer": session}, {"layer": attention.specs()}, device)
        return executor.prepare("layer", shapes, addresses)

    return prepare


def on_cuda_provider(device: CudaDevice) -> Prepare:
    if PROVIDER not in onnxruntime.get_available_providers():
        raise DllmEdgeError(f"this ONNX Runtime {onnxruntime.__version__} has no CUDA provider: {INSTALL}")
    return on_onnxruntime([cuda_provider(device), "CPUExecutionProvider"], "cuda")


def on_tensorrt(device: CudaDevice, library: Library) -> Prepare:
    def prepare(graph: bytes, attention: Attention, shapes: Shapes, addresses: dict[str, int]) -> Launch:
        plan, call = build_plan(library, graph, shapes, device.compute_capability), library.call
        engine = call(library.make("Runtime").deserialize_cuda_engine, plan)
        options = library.context_options(engine) if engine else None
        context = call(engine.create_execution_context, options) if engine else None
        if context is None or not call(context.set_optimization_profile_async, 0, device.stream):
            raise _failure(library, "opening")
        scratch = device.allocate(engine.get_device_memory_size_for_profile_v2(0))
        context.set_device_memory(scratch.address, scratch.nbytes)
        accepted = all(call(context.set_input_shape, name, shape) for name, shape in shapes.items())
        if not (accepted and all(call(context.set_tensor_address, name, at) for name, at in addresses.items())):
            raise _failure(library, "giving tensors to")
        return _Run(library, context, device.stream, (engine, options, scratch))

    return prepare


@dataclass(frozen=True)
class _Run:
    """A launch of a built graph; `held` is what the context must not outlive."""

    library: Library
    context: Any
    stream: int
    held: tuple[Any, Any, Memory]

    def __call__(self) -> None:
        if not self.library.call(self.context.execute_async_v3, self.stream):
            raise _failure(self.library, "running")


def _failure(library: Library, doing: str) -> DllmEdgeError:
    reason = library.last_error() or "it gave no reason"
    return DllmEdgeError(f"{library.title} failed {doing} what it built ({reason}): see 'dllm-edge doctor'")


def build_plan(library: Library, graph: bytes, shapes: Shapes, target: str) -> bytearray:
    builder = library.make("Builder")
    network = library.create_network(builder)
    parser = library.module.OnnxParser(network, library.logger)
    parsed = library.call(parser.parse, graph)
    config = configuration(library, builder, choose_targets(library, (), target), BuildOptions())
    add_profiles(builder, config, [shapes])
    plan = library.call(builder.build_serialized_network, network, config) if parsed else None
    if plan is None:
        raise DllmEdgeError(f"{library.title} could not build one layer's attention ({library.last_error()}): send this line")
    # Bytes of our own: `runtime.engines.tensorrt.buffers` says why.
    return bytearray(memoryview(plan))
