"""What differs between versions, on modules made up for it: of all these versions at most one is installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.engines.tensorrt.library import MODULES, Library, find_library, library_of


class Builder:
    """Keeps what its network was created with."""

    def create_network(self, *flags: int) -> tuple[int, ...]:
        return flags


def module_of(version: str) -> Any:
    flags = SimpleNamespace(STRONGLY_TYPED=1)
    capabilities = SimpleNamespace(__members__={"NONE": 0, "CURRENT": 1, "SM86": 86, "SM120": 120})
    return SimpleNamespace(__version__=version, NetworkDefinitionCreationFlag=flags, ComputeCapability=capabilities)


@pytest.mark.parametrize(
    ("name", "version", "flavours", "network"),
    [
        ("tensorrt", "10.3.0", ("portable",), (2,)),
        ("tensorrt", "10.14.1.48", ("portable",), (2,)),
        ("tensorrt", "10.15.0", ("fused", "portable"), (2,)),
        ("tensorrt", "10.16.1.11", ("fused", "portable"), (2,)),
        ("tensorrt", "11.0.0", ("fused", "portable"), ()),
        ("tensorrt", "11.4.0.106", ("fused", "portable"), ()),
        ("tensorrt-rtx", "1.7.1.116", ("fused", "portable"), ()),
    ],
)
def test_what_a_version_takes(name: str, version: str, flavours: tuple[str, ...], network: tuple[int, ...]) -> None:
    library = library_of(name, module_of(version))
    assert library.version == version
    assert library.flavours == flavours
    assert library.create_network(Builder()) == network


def test_only_rtx_names_targets_and_only_tensorrt_times() -> None:
    tensorrt, rtx = library_of("tensorrt", module_of("11.4.0")), library_of("tensorrt-rtx", module_of("1.7.1"))
    assert (tensorrt.names_targets, tensorrt.keeps_timings, tensorrt.known_targets()) == (False, True, [])
    assert (rtx.names_targets, rtx.keeps_timings, rtx.known_targets()) == (True, False, ["sm86", "sm120"])


def test_targets_are_set_by_their_place() -> None:
    chosen = {}
    config = SimpleNamespace(set_compute_capability=lambda capability, place: chosen.update({place: capability}))
    library_of("tensorrt-rtx", module_of("1.7.1")).set_targets(config, ("sm120", "sm86"))
    assert (config.num_compute_capabilities, chosen) == (2, {0: 120, 1: 86})
    library_of("tensorrt", module_of("10.3.0")).set_targets(None, ("sm87",))


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("tensorrt", "10.2.0", "TensorRT 10.2.0 is too old, 10.3 is the first"),
        ("tensorrt", "8.6.1", "TensorRT 8.6.1 is too old"),
        ("tensorrt", "", "TensorRT is installed, but incomplete"),
    ],
)
def test_versions_that_cannot_be_used(name: str, version: str, message: str) -> None:
    with pytest.raises(DllmEdgeError, match=message):
        library_of(name, module_of(version))


@pytest.mark.parametrize(
    ("name", "remedy"), [("tensorrt", "--system-site-packages"), ("tensorrt-rtx", "pip install tensorrt-rtx")]
)
def test_a_library_that_is_missing(name: str, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find_library.cache_clear()
    monkeypatch.setitem(sys.modules, MODULES[name], None)
    with pytest.raises(DllmEdgeError, match=remedy):
        find_library(name)


def test_a_library_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(ModuleType):
        @staticmethod
        def find_spec(*_: Any) -> None:
            raise ImportError("libnvinfer.so.10: cannot open shared object file")

    find_library.cache_clear()
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken, *sys.meta_path])
    with pytest.raises(DllmEdgeError, match=r"cannot be loaded \(libnvinfer\.so\.10"):
        find_library("tensorrt")


def test_an_unknown_runtime() -> None:
    with pytest.raises(DllmEdgeError, match="unknown runtime 'cuda': choose one of tensorrt, tensorrt-rtx"):
        find_library("cuda")


def logging_library(**names: Any) -> Library:
    return library_of("tensorrt", SimpleNamespace(__version__="10.3.0", ILogger=type("ILogger", (), {}), **names))


def test_the_last_error_is_told_once() -> None:
    library = logging_library()
    for severity, message in (("ERROR", "first"), ("INTERNAL_ERROR", "the\nlast"), ("WARNING", "unimportant")):
        library.logger.log(SimpleNamespace(name=severity), message)
    assert library.last_error() == "the last"
    assert library.last_error() == ""


def raising(kind: type[Exception]) -> bool:
    raise kind("Error in set optimization profile async.")


@pytest.mark.parametrize(
    ("function", "answer", "logged", "silent"),
    [
        (lambda: "engine", "engine", "", ""),
        (lambda: 0, 0, "", ""),
        (lambda: None, None, "of this call", ""),
        (lambda: False, None, "of this call", ""),
        (lambda: raising(RuntimeError), None, "of this call", "Error in set optimization profile async."),
        (lambda: raising(TypeError), None, "of this call", "Error in set optimization profile async."),
    ],
)
def test_what_is_logged_counts_where_the_call_fails(function: Callable[[], Any], answer: Any, logged: str, silent: str) -> None:
    library = logging_library()
    error = SimpleNamespace(name="ERROR")

    def logs() -> Any:
        library.logger.log(error, "of this call")
        return function()

    library.logger.log(error, "of another call")
    assert library.call(logs) == answer
    assert library.last_error() == logged
    library.logger.log(error, "of another call")
    assert library.call(function) == answer
    assert library.last_error() == silent


def test_a_library_that_does_not_start() -> None:
    """Without a driver the bindings make nothing, and raise."""

    def factory(logger: Any) -> None:
        logger.log(SimpleNamespace(name="INTERNAL_ERROR"), "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    with pytest.raises(DllmEdgeError, match=r"TensorRT 10\.3\.0 does not start \(CUDA .* error: 35\): run 'dllm-edge doctor'"):
        logging_library(Builder=factory).make("Builder")
