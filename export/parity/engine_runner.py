"""An engine's step as a runner of steps, through Polygraphy's runners of ONNX Runtime sessions and of TensorRT engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

from ...graphs import contract
from ...graphs.contract import Profile, TensorSpec
from ...graphs.dtypes import DTYPES, DType
from ...graphs.errors import DllmEdgeError
from ...runtime.arrays import Array
from ...runtime.bundle.bundle import Bundle
from ...runtime.engines.base import LoadedGraph
from ...runtime.engines.onnxruntime.executor import OnnxRuntimeExecutor, Specs
from .runner import StepRunner

INSTALL = "install it with pip install 'polygraphy>=0.53.6'"
CUDA_RUNTIME = "install it with pip install nvidia-cuda-runtime-cu12 (CUDA 13: nvidia-cuda-runtime), or set LD_LIBRARY_PATH"
# The dtypes that Polygraphy's numpy has; all others are float32 outside.
OUTSIDE: tuple[DType, ...] = ("int64", "bool", "float32")


def engine_runner(bundle: Bundle, loaded: LoadedGraph, cache_dtype: DType, profile: int = 0) -> StepRunner:
    """Return a runner of a loaded step, of a TensorRT engine at its profile of that number."""
    specs = contract.interface("step", bundle.config, cache_dtype, bundle.manifest.candidates)
    make_runner = RUNNERS[loaded.library]

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        with polygraphy() as comparator:
            results = comparator.Comparator.run([make_runner(loaded, profile, specs)], data_loader=[inputs])
            return {name: np.asarray(array) for name, array in results[0][1][0].items()}

    return run


@contextmanager
def polygraphy() -> Iterator[Any]:
    """Its comparator, silent; its failures are errors of one line."""
    try:
        from polygraphy import comparator
        from polygraphy.exception import PolygraphyException
        from polygraphy.logger import G_LOGGER
    except ImportError as error:
        raise DllmEdgeError(f"comparing an engine layer by layer needs polygraphy ({error}): {INSTALL}") from error
    try:
        # What is critical is raised, too.
        with G_LOGGER.verbosity(G_LOGGER.CRITICAL + 1):
            yield comparator
    except PolygraphyException as error:
        raise DllmEdgeError(f"Polygraphy could not run the engine: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise DllmEdgeError(f"Polygraphy could not load CUDA's runtime ({error}): {CUDA_RUNTIME}") from error


class ContractSession:
    """A session of a step as Polygraphy's `OnnxrtRunner` takes one, with the dtypes that ONNX Runtime's numpy lacks."""

    def __init__(self, session: onnxruntime.InferenceSession, specs: Specs) -> None:
        self.specs = specs
        self.executor = OnnxRuntimeExecutor({"step": session}, {"step": specs}, "cpu")

    def get_inputs(self) -> list[SimpleNamespace]:
        return [_outside(spec) for spec in self.specs[0]]

    def get_outputs(self) -> list[SimpleNamespace]:
        return [_outside(spec) for spec in self.specs[1]]

    def run(self, _wanted: None, feed: Mapping[str, Array]) -> list[Array]:
        inputs = inside(feed, self.specs[0])
        sizes = profile_of(inputs).sizes()
        outputs = {spec.name: np.zeros(spec.sized(sizes), DTYPES[spec.dtype].numpy) for spec in self.specs[1]}
        shapes = {name: array.shape for name, array in inputs.items()}
        addresses = {name: array.ctypes.data for name, array in [*inputs.items(), *outputs.items()]}
        self.executor.prepare("step", shapes, addresses)()
        return [outside(outputs[spec.name]) for spec in self.specs[1]]


def session_runner(loaded: LoadedGraph, _profile: int, specs: Specs) -> Any:
    """Return Polygraphy's runner of a session, which takes every size."""
    from polygraphy.backend.onnxrt import OnnxrtRunner

    return OnnxrtRunner(ContractSession(loaded.handle, specs))


def plan_runner(loaded: LoadedGraph, profile: int, specs: Specs) -> Any:
    """Return Polygraphy's runner of a deserialised engine at its profile of that number."""
    from polygraphy import config

    # Read when Polygraphy's part for TensorRT is imported.
    config.USE_TENSORRT_RTX = loaded.library == "tensorrt-rtx"
    from polygraphy.backend.trt import TrtRunner

    return raw_runner(TrtRunner(loaded.handle, optimization_profile=profile, allocation_strategy="profile"), specs)


RUNNERS: dict[str, Callable[[LoadedGraph, int, Specs], Any]] = {
    "onnxruntime": session_runner,
    "tensorrt": plan_runner,
    "tensorrt-rtx": plan_runner,
}
"""What makes Polygraphy's runner of a loaded step, by the library that holds it."""


def raw_runner(runner: Any, specs: Specs) -> Any:
    """A `TrtRunner` that is given bytes and gives bytes: numpy has no name of its own for bfloat16, which it would need."""
    from polygraphy.backend.base import BaseRunner
    from polygraphy.common import FormattedArray, TensorMetadata

    class RawRunner(BaseRunner):  # type: ignore[misc]
        def activate_impl(self) -> None:
            runner.activate()

        def deactivate_impl(self) -> None:
            runner.deactivate()

        def get_input_metadata_impl(self) -> Any:
            metadata = TensorMetadata()
            for spec in specs[0]:
                metadata.add(spec.name, dtype=np.dtype(_outer_dtype(spec)), shape=_outside(spec).shape)
            return metadata

        def infer_impl(self, feed_dict: Mapping[str, Array]) -> dict[str, Array]:
            inputs = inside(feed_dict, specs[0])
            feed = {name: FormattedArray(array.reshape(-1).view(np.uint8), array.shape) for name, array in inputs.items()}
            outputs = runner.infer(feed, check_inputs=False, return_raw_buffers=True)
            self.inference_time = runner.last_inference_time()
            sizes = profile_of(inputs).sizes()
            return {spec.name: outside(_array(outputs[spec.name].array, spec, sizes)) for spec in specs[1]}

    return RawRunner()


def inside(feed: Mapping[str, Array], specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Return inputs in the step's own dtypes."""
    return {spec.name: np.ascontiguousarray(feed[spec.name], DTYPES[spec.dtype].numpy) for spec in specs}


def outside(array: Array) -> Array:
    """Return an output in a dtype that numpy has: half precision as float32."""
    return array if array.dtype == np.int64 else array.astype(np.float32)


def profile_of(inputs: Mapping[str, Array]) -> Profile:
    batch, queries = inputs["input_ids"].shape
    rows, targets = inputs["target_ids"].shape[1:]
    capacity = inputs["attention_mask"].shape[-1] - queries
    return Profile(batch, queries, capacity, rows, targets)


def _array(buffer: Array, spec: TensorSpec, sizes: Mapping[str, int]) -> Array:
    shape, dtype = spec.sized(sizes), DTYPES[spec.dtype].numpy
    return buffer.reshape(-1).view(np.uint8)[: int(np.prod(shape)) * dtype.itemsize].view(dtype).reshape(shape)


def _outer_dtype(spec: TensorSpec) -> DType:
    return spec.dtype if spec.dtype in OUTSIDE else "float32"


def _outside(spec: TensorSpec) -> SimpleNamespace:
    shape = [axis if isinstance(axis, int) else None for axis in spec.axes]
    return SimpleNamespace(name=spec.name, type=DTYPES[_outer_dtype(spec)].onnxruntime, shape=shape)
