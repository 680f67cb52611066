"""The double of TensorRT beside the bindings of TensorRT-RTX, which are here, and those of TensorRT, which are downloaded."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from ..export.tensorrt.test_names import VERSIONS, binding, missing
from .host_tensorrt import PROFILE_REFUSED, Context, Engine, HostTensorRT, Runtime

trt = pytest.importorskip("tensorrt_rtx")

DOUBLES = {Context: trt.IExecutionContext, Engine: trt.ICudaEngine, Runtime: trt.Runtime}
METHODS = [
    (double, real, name)
    for double, real in DOUBLES.items()
    for name, value in vars(double).items()
    if inspect.isfunction(value) and hasattr(real, name) and not name.startswith("__")
]


def arguments(method: Any) -> list[str]:
    return [name for name in inspect.signature(method).parameters if name != "self"]


def overloads(method: Any) -> list[tuple[list[str], str]]:
    """The parameters of each overload of a bound function, and what it answers, by its description."""
    found = re.findall(rf"{method.__name__}\(self: [\w.]+(?:, (.*?))?\) -> ([\w.]+)", method.__doc__)
    return [(re.findall(r"(?:^|, )(\w+): ", given), answer.split(".")[-1]) for given, answer in found]


def test_the_double_has_methods_of_each_class() -> None:
    assert {double for double, _, _ in METHODS} == set(DOUBLES)
    assert len(METHODS) >= 9


@pytest.mark.parametrize(("double", "real", "name"), METHODS, ids=[name for _, _, name in METHODS])
def test_arguments_and_answers_are_those_of_the_bindings(double: type, real: type, name: str) -> None:
    method = getattr(double, name)
    answer = str(inspect.signature(method).return_annotation).removesuffix(" | None")
    names = {"Engine": "ICudaEngine", "Context": "IExecutionContext"}
    assert (arguments(method), names.get(answer, answer)) in overloads(getattr(real, name))


@pytest.mark.parametrize("version", VERSIONS)
def test_tensorrt_names_them_alike(version: str) -> None:
    names = {name for _, _, name in METHODS}
    found = {argument for double, _, name in METHODS for argument in arguments(getattr(double, name))}
    assert missing(names | found, version) == set()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_profile_that_is_refused_is_raised_by_all(version: str) -> None:
    assert PROFILE_REFUSED.encode() + b"\0" in binding(version)


def test_the_first_release_alone_reads_buffers_without_the_interpreters_lock() -> None:
    """By the names of the functions that bind them: those that let go of it as a whole say so."""
    released = re.compile(rb"IRuntimeERNS_6buffer\w*?ICudaEngine\w*gil_scoped_release")
    assert [version for version in VERSIONS if released.search(binding(version))] == ["10.3.0"]


def test_a_context_answers_and_logs_as_the_bindings_do() -> None:
    """False with an error in the log, but for a profile, which is raised; what is no number is a `TypeError`."""

    class OneTensor:
        names, profiles, num_optimization_profiles = ["x"], [{"x": [1, 8]}], 1
        library = HostTensorRT(cuda=None)  # type: ignore[arg-type]

    context = Context(OneTensor())  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match=PROFILE_REFUSED):
        context.set_optimization_profile_async(1, 0)
    assert context.set_optimization_profile_async(0, 0)
    assert context.set_input_shape("x", (1, 8))
    assert not context.set_input_shape("x", (2, 8))
    assert not context.set_input_shape("y", (1, 8))
    assert not context.set_tensor_address("y", 0)
    assert not context.set_tensor_address("x", 1)
    with pytest.raises(TypeError):
        context.set_tensor_address("x", "address")  # type: ignore[arg-type]
    assert len(OneTensor.library.logged) == 5
