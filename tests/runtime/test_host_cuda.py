"""The double of CUDA's runtime beside the real bindings, which answer without a driver, too: each call with an error."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dllm_edge

from .host_cuda import HostCuda

runtime = pytest.importorskip("cuda.bindings.runtime")

FUNCTIONS = sorted(name for name in vars(HostCuda) if name.startswith("cuda"))
# What is called with arguments that need no GPU, and answers an error and nothing where there is none.
SAFE: dict[str, tuple[Any, ...]] = {
    "cudaMalloc": (256,),
    "cudaHostAlloc": (256, 2),
    "cudaSetDevice": (0,),
    "cudaStreamCreateWithFlags": (1,),
    "cudaEventCreateWithFlags": (3,),
    "cudaGetDeviceProperties": (0,),
}
SOURCES = [
    Path(dllm_edge.__file__).parent / folder / name
    for folder, name in (("runtime/engines/device", "cuda.py"), ("scripts/benchmarks/gpu", "bandwidth.py"))
]


def parameters(function: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def answers(function: Callable[..., Any]) -> int:
    """The length of the tuple that a function answers with, by the entries below "Returns" in its description."""
    section = re.split(r"\n(?:See Also|Notes)\n-+\n", str(function.__doc__).split("Returns\n-------\n")[1])[0]
    return len(re.findall(r"^\S.*", section, re.MULTILINE))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_are_those_of_the_bindings(name: str) -> None:
    assert parameters(getattr(HostCuda, name)) == parameters(getattr(runtime, name))


@pytest.mark.parametrize("name", sorted(SAFE))
def test_as_much_is_answered(name: str) -> None:
    cuda = HostCuda()
    assert len(getattr(cuda, name)(*SAFE[name])) == answers(getattr(runtime, name))
    if runtime.cudaGetDeviceCount()[0] != runtime.cudaError_t.cudaSuccess:
        assert len(getattr(runtime, name)(*SAFE[name])) == answers(getattr(runtime, name))


def test_a_description_is_counted() -> None:
    counts = {"cudaMalloc": 2, "cudaFree": 1, "cudaStreamEndCapture": 2, "cudaGraphInstantiate": 2, "cudaEventQuery": 1}
    assert {name: answers(getattr(runtime, name)) for name in counts} == counts


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_what_is_called_has_a_double_and_as_many_arguments(path: Path) -> None:
    """All that begins with `cuda` is a name of the bindings; what is called, with that many arguments, the double has, too."""
    found = 0
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and re.match(r"cuda[A-Z]|make_cuda", node.attr):
            assert hasattr(runtime, node.attr) or _is_member(node.attr), node.attr
            found += 1
        if isinstance(node, ast.Call) and (called := _called(node)):
            name, count = called
            assert count == len(parameters(getattr(runtime, name))), name
            assert name in FUNCTIONS or name in DRIVERLESS, name
            found += 1
    assert found > 3


# What the real bindings answer without a driver, so that tests use theirs.
DRIVERLESS = ("cudaDriverGetVersion", "cudaGetDeviceCount")


def _is_member(name: str) -> bool:
    enumerations = (runtime.cudaError_t, runtime.cudaMemcpyKind, runtime.cudaStreamCaptureMode)
    return any(name in kind.__members__ for kind in enumerations)


def _called(node: ast.Call) -> tuple[str, int] | None:
    """The function that is called by `self._check("cudaX", ...)`, or as `cuda.cudaX(...)`, and its number of arguments."""
    if isinstance(node.func, ast.Attribute) and node.func.attr == "_check":
        (name, *arguments) = node.args
        return (str(name.value), len(arguments)) if isinstance(name, ast.Constant) else None
    if isinstance(node.func, ast.Attribute) and re.match(r"cuda[A-Z]", node.func.attr) and hasattr(runtime, node.func.attr):
        kind = getattr(runtime, node.func.attr)
        return None if isinstance(kind, type) else (node.func.attr, len(node.args))
    return None
