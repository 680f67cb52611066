"""Opening a bundle's engine on TensorRT: finding the one that fits this machine, and trying a new one."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from ....graphs.contract import Profile
from ....graphs.errors import DllmEdgeError
from ...bundle.bundle import Bundle
from ..base import Engine, Lanes
from ..device.cuda import CudaDevice
from ..device.engine import DeviceEngine
from ..fixed_sizes import FixedSizes
from ..sizes import slot_multiple
from .engine_folder import EngineFolder, engines_of, find_engine
from .executor import TensorRTExecutor
from .library import MODULES, Library, find_library


def open_tensorrt(bundle: Bundle, runtime: str | None = None, compute_dtype: str | None = None) -> DeviceEngine:
    """Open the engine of `bundle` for this machine's GPU and TensorRT; raises `DllmEdgeError` where none fits.

    `runtime` is `tensorrt` or `tensorrt-rtx`, by default the one that is installed and that the bundle has an engine of.
    """
    library = find_library(runtime or _installed(bundle))
    device = CudaDevice()
    folder = find_engine(bundle, library.name, library.version, device.compute_capability, compute_dtype)
    return engine_over(bundle, library, device, folder)


def engine_over(bundle: Bundle, library: Library, device: CudaDevice, folder: EngineFolder) -> DeviceEngine:
    """Open the engine in `folder`, which is known to fit."""
    built = folder.fingerprint
    remedy = (
        f"run 'dllm-edge build {bundle.path} --runtime {library.name}' with the --systems, --context and settings of the decode"
    )
    executor = TensorRTExecutor(library, folder, device, device.stream, bundle)
    candidates, sizes = bundle.manifest.candidates, FixedSizes(built.workload, slot_multiple(bundle.config), remedy)
    return DeviceEngine(library.name, bundle.config, built.compute, candidates, device, executor, sizes)


def try_engine(engine: Engine) -> None:
    """Run one step at each profile of a new engine; raises `DllmEdgeError` where one does not run or gives no numbers.

    All tokens have the id 0 and see themselves alone, as padding does.
    """
    for profile in engine.sizes.profiles or ():
        rows = np.arange(profile.queries)
        engine.inputs(profile).attention_mask[:, :, rows, profile.capacity + rows] = True
        cached = profile.capacity > slot_multiple(engine.config)
        outputs = engine.run(profile, _lanes(engine, profile) if cached else None)
        if not np.isfinite(outputs.entropy).all():
            raise DllmEdgeError(
                f"{engine.name}: a step of {profile.queries} tokens over {profile.capacity} slots gives no finite numbers: "
                "export with --dtype bfloat16, or build with --compute float32"
            )


def _lanes(engine: Engine, profile: Profile) -> Lanes:
    return Lanes(engine.allocate(profile.batch, profile.capacity, bound=False, read=True), 0, profile.batch)


def _installed(bundle: Bundle) -> str:
    installed = [name for name, module in MODULES.items() if find_spec(module)]
    built = {engine.fingerprint.runtime for engine in engines_of(bundle)}
    return next((name for name in installed if name in built), next(iter(installed), "tensorrt"))
