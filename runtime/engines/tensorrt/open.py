"""A bundle's engine on TensorRT: finding the one that fits this machine, and trying a new one."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from ....graphs.contract import Profile
from ....graphs.errors import DllmEdgeError
from ...bundle.bundle import Bundle
from ...scheduler.batch import fill_padding
from ..base import Lanes
from ..device.cuda import CudaDevice
from ..device.engine import DeviceEngine
from ..sizes import FixedSizes, slot_step
from .engine_folder import EngineFolder, engines_of, find_engine
from .executor import TensorRTExecutor
from .library import MODULES, Library, find_library


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
    executor = TensorRTExecutor(library, folder, device, device.stream, bundle)
    candidates, sizes = bundle.manifest.candidates, FixedSizes(built.workload, slot_step(bundle.config), remedy)
    return DeviceEngine(library.name, bundle.config, built.compute, candidates, device, executor, sizes)


def try_engine(engine: DeviceEngine) -> None:
    """Run one step of padding at each profile; raises `DllmEdgeError` where one does not run or gives no numbers."""
    sizes = engine.sizes
    assert isinstance(sizes, FixedSizes)
    for profile in sizes.workload.profiles:
        inputs = engine.inputs(profile)
        for row in range(profile.batch):
            fill_padding(inputs, row, profile)
        outputs = engine.run(profile, _lanes(engine, profile) if profile.capacity > sizes.step else None)
        if not np.isfinite(outputs.logsumexp).all():
            raise DllmEdgeError(
                f"{engine.name}: a step of {profile.queries} tokens over {profile.capacity} slots gives no finite numbers: "
                "export with --dtype bfloat16, or build with --compute float32"
            )


def _lanes(engine: DeviceEngine, profile: Profile) -> Lanes:
    return Lanes(engine.allocate(profile.batch, profile.capacity, bound=False, read=True), 0, profile.batch)


def _installed(bundle: Bundle) -> str:
    here = [name for name, module in MODULES.items() if find_spec(module)]
    built = {engine.fingerprint.runtime for engine in engines_of(bundle)}
    return next((name for name in here if name in built), next(iter(here), "tensorrt"))
