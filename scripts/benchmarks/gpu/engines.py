"""The engine of a job: built on the spot where it is compiled."""

from __future__ import annotations

from collections.abc import Sequence

from ....export.tensorrt.build import build_engine
from ....export.tensorrt.compilation import Compilation
from ....export.tensorrt.options import BuildOptions
from ....export.tensorrt.targets import choose_targets
from ....runtime.bundle.bundle import Bundle
from ....runtime.engines.device.cuda import CudaDevice
from ....runtime.engines.device.engine import DeviceEngine
from ....runtime.engines.onnxruntime.installation import require_onnxruntime
from ....runtime.engines.profiles import Workload
from ....runtime.engines.tensorrt.library import find_library
from ....runtime.engines.tensorrt.open import engine_over
from ....runtime.scheduler.rehearsal import Use, derive_workload


def open_engine(bundle: Bundle, name: str, compute: str, workload: Workload) -> DeviceEngine:
    """Return the engine of that name, one of `job.ENGINES`; raise `DllmEdgeError` for what this machine cannot run."""
    if name == "onnxruntime":
        require_onnxruntime("cuda")
        from ....runtime.engines.onnxruntime.cuda import open_cuda

        return open_cuda(bundle, compute)
    library, device = find_library(name), CudaDevice()
    targets = choose_targets(library, (), device.compute_capability)
    built = build_engine(Compilation(bundle, library, targets, BuildOptions(compute=compute)), workload)
    return engine_over(bundle, library, device, built.engine)


def with_block_steps(bundle: Bundle, uses: Sequence[Use], context: int, blocks: Workload) -> Workload:
    """Return what decodes of `uses` need, and the block steps that are timed alone."""
    decodes = derive_workload(bundle.config, uses, [context])
    profiles = dict.fromkeys((*decodes.profiles, *blocks.profiles))
    return Workload(tuple(profiles), decodes.saliency, decodes.select)
