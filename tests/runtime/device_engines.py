"""The device loop over host memory, at exactly the profiles that an engine would be built for."""

from __future__ import annotations

from collections import Counter
from typing import Any

import onnxruntime

from dllm_edge.graphs import contract
from dllm_edge.graphs.dtypes import DType
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.device.base import Launch
from dllm_edge.runtime.engines.device.engine import DeviceEngine
from dllm_edge.runtime.engines.fixed_sizes import FixedSizes
from dllm_edge.runtime.engines.onnxruntime.executor import OnnxRuntimeExecutor
from dllm_edge.runtime.engines.profiles import Shapes, Workload
from dllm_edge.runtime.engines.sizes import ALIGNMENT, RoundedSizes, slot_multiple

from .host_device import HostDevice

FLOAT32: DType = "float32"
REMEDY = "run 'dllm-edge build BUNDLE'"


class ProfiledExecutor(OnnxRuntimeExecutor):
    """Runs at the shapes of a workload and refuses all others, as an engine of fixed profiles does."""

    warm_ups = 1

    def __init__(self, *arguments: Any, host: HostDevice, workload: dict[str, list[Shapes]] | None) -> None:
        super().__init__(*arguments)
        self.recordable = True
        self.host, self.workload, self.prepared = host, workload, Counter[str]()

    def prepare(self, graph: str, shapes: Shapes, addresses: dict[str, int], recorded: bool = False) -> Launch:
        assert self.workload is None or shapes in self.workload.get(graph, []), f"{graph} has no profile {shapes}"
        self.prepared[graph] += 1
        assert not [name for name, address in addresses.items() if address % ALIGNMENT]
        execute = super().prepare(graph, shapes, addresses, recorded)

        def work() -> None:
            assert all(map(self.host.holds, addresses.values())), "a tensor's memory was freed"
            execute()

        return lambda: self.host.stream.do(work)


def on_host(
    bundle: Bundle,
    workload: Workload | None,
    device: HostDevice | None = None,
    flavours: tuple[str, ...] = ("fused", "portable"),
) -> DeviceEngine:
    """An engine of the profiles of `workload` (None: of whatever is asked), computing in float32."""
    device = device or HostDevice()
    config, cache, candidates = bundle.config, FLOAT32, bundle.manifest.candidates
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    files = {
        name: bundle.graph(flavours if name == "step" else ["portable"], cache, name).file for name in bundle.manifest.graphs
    }
    sessions = {
        name: onnxruntime.InferenceSession(str(bundle.path / file), options, providers=["CPUExecutionProvider"])
        for name, file in files.items()
    }
    specs = {name: contract.interface(name, config, cache, candidates) for name in files}
    shapes = workload.shapes(config, cache) if workload else None
    executor = ProfiledExecutor(sessions, specs, "cpu", host=device, workload=shapes)
    step = slot_multiple(config)
    sizes = FixedSizes(workload, step, REMEDY) if workload else RoundedSizes(step)
    return DeviceEngine("device", config, cache, candidates, device, executor, sizes)
