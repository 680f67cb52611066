"""What runs a step for Polygraphy: a session of ONNX Runtime or a TensorRT plan; caches are float32 outside of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

from ....graphs import contract
from ....graphs.contract import DType, Profile, TensorSpec
from ....graphs.errors import DllmEdgeError
from ....runtime.arrays import Array
from ....runtime.bundle.bundle import Bundle
from ....runtime.engines.host import NUMPY_DTYPES
from ....runtime.engines.onnxruntime.executor import OnnxRuntimeExecutor, Specs
from ....runtime.engines.tensorrt.library import Library

INSTALL = "install it with pip install 'polygraphy>=0.53.6'"
CUDA_RUNTIME = "install it with pip install nvidia-cuda-runtime-cu12 (CUDA 13: nvidia-cuda-runtime), or set LD_LIBRARY_PATH"
OUTSIDE = {"int64": "tensor(int64)", "bool": "tensor(bool)", "float32": "tensor(float)"}


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
    """A session of a step as Polygraphy's `OnnxrtRunner` takes one. It has every type that ONNX Runtime's numpy lacks, too."""

    def __init__(self, session: onnxruntime.InferenceSession, specs: Specs) -> None:
        self.specs = specs
        self.executor = OnnxRuntimeExecutor({"step": session}, {"step": specs}, "cpu")

    def get_inputs(self) -> list[SimpleNamespace]:
        return [_outside(spec) for spec in self.specs[0]]

    def get_outputs(self) -> list[SimpleNamespace]:
        return [_outside(spec) for spec in self.specs[1]]

    def run(self, _wanted: None, feed: Mapping[str, Array]) -> list[Array]:
        given = inside(feed, self.specs[0])
        sizes = profile_of(given).sizes()
        found = {spec.name: np.zeros(spec.sized(sizes), NUMPY_DTYPES[spec.dtype]) for spec in self.specs[1]}
        shapes = {name: array.shape for name, array in given.items()}
        addresses = {name: array.ctypes.data for name, array in [*given.items(), *found.items()]}
        self.executor.prepare("step", shapes, addresses)()
        return [outside(found[spec.name]) for spec in self.specs[1]]


def session_runner(session: onnxruntime.InferenceSession, bundle: Bundle, cache: DType) -> Any:
    from polygraphy.backend.onnxrt import OnnxrtRunner

    specs = contract.interface("step", bundle.config, cache, bundle.manifest.candidates)
    return OnnxrtRunner(ContractSession(session, specs))


def plan_runner(library: Library, engine: Any, profile: int, specs: Specs) -> Any:
    """A runner of a deserialised engine at its profile of that number."""
    from polygraphy import config

    # Read when Polygraphy's part for TensorRT is imported.
    config.USE_TENSORRT_RTX = library.name == "tensorrt-rtx"
    from polygraphy.backend.trt import TrtRunner

    return raw_runner(TrtRunner(engine, optimization_profile=profile, allocation_strategy="profile"), specs)


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
                metadata.add(spec.name, dtype=np.dtype(_outer_type(spec)), shape=_outside(spec).shape)
            return metadata

        def infer_impl(self, feed_dict: Mapping[str, Array]) -> dict[str, Array]:
            given = inside(feed_dict, specs[0])
            feed = {name: FormattedArray(array.reshape(-1).view(np.uint8), array.shape) for name, array in given.items()}
            found = runner.infer(feed, check_inputs=False, return_raw_buffers=True)
            self.inference_time = runner.last_inference_time()
            sizes = profile_of(given).sizes()
            return {spec.name: outside(_array(found[spec.name].array, spec, sizes)) for spec in specs[1]}

    return RawRunner()


def inside(feed: Mapping[str, Array], specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Inputs in the step's own types."""
    return {spec.name: np.ascontiguousarray(feed[spec.name], NUMPY_DTYPES[spec.dtype]) for spec in specs}


def outside(array: Array) -> Array:
    """An output in a type that numpy has: half precision as float32."""
    return array if array.dtype == np.int64 else array.astype(np.float32)


def profile_of(inputs: Mapping[str, Array]) -> Profile:
    batch, queries = inputs["input_ids"].shape
    rows, targets = inputs["target_ids"].shape[1:]
    capacity = inputs["attention_mask"].shape[-1] - queries
    return Profile(batch, queries, capacity, rows, targets)


def _array(buffer: Array, spec: TensorSpec, sizes: Mapping[str, int]) -> Array:
    shape, kind = spec.sized(sizes), NUMPY_DTYPES[spec.dtype]
    return buffer.reshape(-1).view(np.uint8)[: int(np.prod(shape)) * kind.itemsize].view(kind).reshape(shape)


def _outer_type(spec: TensorSpec) -> DType:
    return spec.dtype if spec.dtype in OUTSIDE else "float32"


def _outside(spec: TensorSpec) -> SimpleNamespace:
    shape = [axis if isinstance(axis, int) else None for axis in spec.axes]
    return SimpleNamespace(name=spec.name, type=OUTSIDE[_outer_type(spec)], shape=shape)
