"""The step graph on ONNX Runtime's CPU provider: all bound by address, so that a step copies no cache bytes on the host."""

from __future__ import annotations

import ctypes
import warnings
from typing import Any

import onnxruntime

from ....graphs.contract import Profile
from ....graphs.dtypes import DTYPES, DType
from ....graphs.errors import DllmEdgeError
from ...arrays import Array
from ...bundle.bundle import Bundle
from ...bundle.manifest import GraphFile
from ..base import Lanes, LoadedGraph, StepOutputs
from ..cores import usable_cores
from ..host import FIRST_NEW, FIRST_PAST, HostCaches, Workspace, arrays, binding_key, lane_tensors

# The first release whose CPU provider runs both Attention-23 and RMSNormalization-23 (1.23 is the last for Python 3.10).
FUSED_FROM = (1, 24)
# What meets integer weights stays float32; by default (4) ONNX Runtime would round it to 8 bits.
INTEGER_WEIGHTS = ("session.qdq_matmulnbits_accuracy_level", "1")
COMPUTABLE: tuple[DType, ...] = ("float32", "float16")


class OnnxRuntimeEngine(HostCaches):
    """Runs a bundle at exactly the shapes asked for."""

    name = "onnxruntime"

    def __init__(self, bundle: Bundle, threads: int = 0, flavour: str | None = None, compute_dtype: str = "float32") -> None:
        """`threads` within an operator (0: all cores; warns of more than there are); `flavour` overrides the choice by version.

        `compute_dtype` is that of the graph and its caches: `float32`, or `float16`, which a CPU runs by casting.
        """
        super().__init__(bundle.config, _computable(compute_dtype), bundle.manifest.candidates)
        self.versions = {"onnxruntime": onnxruntime.__version__}
        release = tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])
        flavours = ("fused", "portable") if release >= FUSED_FROM else ("portable",)
        graph = bundle.graph([flavour] if flavour else flavours, compute_dtype)
        self.flavour = graph.flavour
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = _checked(threads)
        self.session = open_session(bundle, graph, options, ["CPUExecutionProvider"])
        _return_free_memory()

    def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
        workspace = self.workspace(profile)
        key = (binding_key(cache), binding_key(bind), keep_rows)
        binding, rows = workspace.bindings.get_or_make(key, lambda: self._bind(profile, workspace, cache, bind, keep_rows))
        self.kept_rows = lane_tensors(bind) if bind and keep_rows else rows
        self.session.run_with_iobinding(binding)
        return workspace.outputs

    def loaded_step(self) -> LoadedGraph:
        return LoadedGraph("onnxruntime", self.session)

    def _bind(
        self, profile: Profile, workspace: Workspace, cache: Lanes | None, bind: Lanes | None, keep_rows: bool
    ) -> tuple[onnxruntime.IOBinding, list[Array]]:
        """Return a binding by address, and the arrays of kept rows that no lane holds. What nobody wants stays unbound."""
        assert cache or not profile.capacity
        binding = self.session.io_binding()
        past = lane_tensors(cache) if cache else self.buffers(self.input_specs[FIRST_PAST:], profile)
        rows = self.buffers(self.output_specs[FIRST_NEW:], profile) if keep_rows and not bind else []
        new = lane_tensors(bind) if bind else rows
        for spec, array in zip(self.input_specs, [*arrays(workspace.inputs), *past], strict=True):
            assert array.shape == spec.shape(profile), spec.name
            binding.bind_input(spec.name, "cpu", 0, DTYPES[spec.dtype].numpy.type, array.shape, array.ctypes.data)
        for spec, array in zip(self.output_specs, [*arrays(workspace.outputs), *new], strict=False):
            assert array.shape == spec.shape(profile), spec.name
            binding.bind_output(spec.name, "cpu", 0, DTYPES[spec.dtype].numpy.type, array.shape, array.ctypes.data)
        return binding, rows


def open_session(
    bundle: Bundle, graph: GraphFile, options: onnxruntime.SessionOptions, providers: list[Any]
) -> onnxruntime.InferenceSession:
    """Open a session of one of the bundle's graphs; raises `DllmEdgeError` where ONNX Runtime cannot load it."""
    options.log_severity_level = 3
    options.add_session_config_entry(*INTEGER_WEIGHTS)
    path = bundle.path / graph.file
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise DllmEdgeError(
            f"{path}: ONNX Runtime {onnxruntime.__version__} cannot load it ({reason}): "
            f"run 'dllm-edge info {bundle.path} --verify'"
        ) from error


def _return_free_memory() -> None:
    """Give back what loading freed: the C library keeps up to a whole copy of the weights, which were folded or cast."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _checked(threads: int) -> int:
    """Return `threads`; warn where they are more than the cores that this process may use."""
    cores = usable_cores()
    if threads > cores:
        warnings.warn(
            f"{threads} threads are more than this process has cores ({cores}): they wait for each other and decode slower, "
            "use 0, which is as many threads as cores",
            stacklevel=2,
        )
    return threads


def _computable(compute_dtype: str) -> DType:
    for known in COMPUTABLE:
        if known == compute_dtype:
            return known
    raise DllmEdgeError(
        f"ONNX Runtime's CPU provider cannot compute in {compute_dtype}: use {' or '.join(COMPUTABLE)}; "
        "every bundle has a float32 graph over its weights"
    )
