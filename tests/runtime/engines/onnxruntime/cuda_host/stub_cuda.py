"""The stub of CUDA's runtime as Python sees it: in place of cuda-python's module, whose own copy asks a driver."""

from __future__ import annotations

import ctypes
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from .libraries import CUDNN, RUNTIME

REPORT_BYTES = 1 << 16
# The functions that the device calls, and how many values each returns beside its status, as leading arguments in C.
RETURNS = {
    "cudaMalloc": 1,
    "cudaHostAlloc": 1,
    "cudaFree": 0,
    "cudaFreeHost": 0,
    "cudaMemsetAsync": 0,
    "cudaMemcpyAsync": 0,
    "cudaMemcpy3DAsync": 0,
    "cudaStreamCreateWithFlags": 1,
    "cudaStreamSynchronize": 0,
    "cudaStreamBeginCapture": 0,
    "cudaGraphLaunch": 0,
    "cudaGraphDestroy": 0,
    "cudaGraphExecDestroy": 0,
    "cudaGetLastError": 0,
}


class StubCuda:
    """Loads the stubs, of which ONNX Runtime's provider then finds its libraries; `cudnn`: whether that one is there, too."""

    def __init__(self, folder: Path, cudnn: bool = True) -> None:
        from cuda.bindings import runtime

        self.real, self.library = runtime, ctypes.CDLL(str(folder / RUNTIME), ctypes.RTLD_GLOBAL)
        rest = [path for path in sorted(folder.glob("lib*.so.*")) if path.suffix[1:].isdigit() and path.name != RUNTIME]
        self.others = [ctypes.CDLL(str(path)) for path in rest if cudnn or path.name != CUDNN]
        self.library.stub_node.restype = ctypes.c_char_p
        self.library.stub_held_bytes.restype = self.library.stub_peak_bytes.restype = ctypes.c_size_t

    def __getattr__(self, name: str) -> Any:
        if name not in RETURNS:
            return getattr(self.real, name)
        return lambda *arguments: self._call(name, RETURNS[name], arguments)

    def _call(self, name: str, returned: int, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        values = [ctypes.c_void_p() for _ in range(returned)]
        status = getattr(self.library, name)(*map(ctypes.byref, values), *map(_in_c, arguments))
        return (self.real.cudaError_t(status), *(value.value for value in values))

    def cudaSetDevice(self, index: int) -> tuple[Any, ...]:  # noqa: N802
        return (self.real.cudaError_t.cudaSuccess,)

    cudaSetDeviceFlags = cudaSetDevice  # noqa: N815

    def cudaGetDeviceProperties(self, index: int) -> tuple[Any, ...]:  # noqa: N802
        return self.real.cudaError_t.cudaSuccess, SimpleNamespace(name=b"stub", major=9, minor=0, integrated=0)

    def cudaStreamEndCapture(self, stream: int) -> tuple[Any, ...]:  # noqa: N802
        graph = ctypes.c_void_p()
        status = self.library.cudaStreamEndCapture(ctypes.c_void_p(stream), ctypes.byref(graph))
        return self.real.cudaError_t(status), graph.value

    def cudaGraphGetNodes(self, graph: int, count: int = 0) -> tuple[Any, ...]:  # noqa: N802
        nodes = list[str]()
        while name := self.library.stub_node(ctypes.c_void_p(graph), len(nodes)):
            nodes.append(name.decode())
        return self.real.cudaError_t.cudaSuccess, nodes[:count], len(nodes)

    def cudaGraphNodeGetType(self, node: str) -> tuple[Any, ...]:  # noqa: N802
        types = self.real.cudaGraphNodeType
        named = {"launch": types.cudaGraphNodeTypeKernel, "fill": types.cudaGraphNodeTypeMemset}
        named["host function"] = types.cudaGraphNodeTypeHost
        return self.real.cudaError_t.cudaSuccess, named.get(node, types.cudaGraphNodeTypeMemcpy)

    def cudaGraphMemcpyNodeGetParams(self, node: str) -> tuple[Any, ...]:  # noqa: N802
        kinds = self.real.cudaMemcpyKind
        named = {"upload": kinds.cudaMemcpyHostToDevice, "download": kinds.cudaMemcpyDeviceToHost}
        return self.real.cudaError_t.cudaSuccess, SimpleNamespace(kind=named.get(node, kinds.cudaMemcpyDeviceToDevice))

    def cudaGraphInstantiate(self, graph: int, flags: int) -> tuple[Any, ...]:  # noqa: N802
        return self._call("cudaGraphInstantiate", 1, (graph, flags))

    def counts(self) -> dict[str, int]:
        """Return what was called since the last time, and forget it."""
        text = ctypes.create_string_buffer(REPORT_BYTES)
        self.library.stub_report(text, REPORT_BYTES)
        self.library.stub_reset()
        lines = (line.rpartition("=") for line in text.value.decode().splitlines())
        return dict(Counter({name: int(count) for name, _, count in lines}))

    @property
    def held_bytes(self) -> int:
        return int(self.library.stub_held_bytes())

    @property
    def peak_bytes(self) -> int:
        """The most bytes of the device that were held at once since the last `counts`."""
        return int(self.library.stub_peak_bytes())


def _in_c(argument: Any) -> Any:
    """Return an argument of cuda-python as C takes it: a pointer or a number of 64 bits, a struct by its address."""
    return ctypes.c_void_p(argument.getPtr() if hasattr(argument, "getPtr") else int(argument))
