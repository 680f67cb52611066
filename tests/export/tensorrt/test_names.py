"""Whether each name of TensorRT's that the code uses is in the bindings of the versions that it is meant for.

The bindings do not import without the libraries, but their shared object holds every Python name, ended by a zero byte.
"""

from __future__ import annotations

import ast
import inspect
import platform
import zipfile
from collections.abc import Iterator
from functools import cache
from io import BufferedWriter
from pathlib import Path
from typing import Any

import pytest

import dllm_edge

trt = pytest.importorskip("tensorrt_rtx")
pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the bindings are fetched for x86_64")

ROOT = Path(dllm_edge.__file__).parent
BINDINGS = ROOT / ".venv" / "bindings"
VERSIONS = ("10.3.0", "10.16.1.11", "11.4.0.106")
LIBRARY = ROOT / "runtime" / "engines" / "tensorrt" / "library.py"
SOURCES = [
    *sorted((ROOT / "runtime" / "engines" / "tensorrt").glob("*.py")),
    *sorted((ROOT / "export" / "tensorrt").glob("*.py")),
    ROOT / "scripts" / "benchmarks" / "gpu" / "attention_engines.py",
]

# Names that only some versions have: those that `LIBRARY` keeps for them.
ONLY_RTX = (
    "ComputeCapability",
    "DynamicShapesKernelSpecializationStrategy",
    "EAGER",
    "REQUIRE_USER_ALLOCATION",
    "create_runtime_cache",
    "set_runtime_cache",
    "dynamic_shapes_kernel_specialization_strategy",
    "num_compute_capabilities",
    "set_compute_capability",
)
ONLY_WHERE_FUSED = ("ATTENTION_INPUT", "ATTENTION_OUTPUT", "IAttentionBoundaryLayer", "attention", "decomposable")
NOT_YET = ("create_runtime_config", "set_execution_context_allocation_strategy")
EXCEPTED = {version: {*ONLY_RTX} for version in VERSIONS} | {"10.3.0": {*ONLY_RTX, *ONLY_WHERE_FUSED, *NOT_YET}}


@cache
def binding(version: str) -> bytes:
    """The shared object and the Python files of a version's bindings."""
    wheels = list(BINDINGS.glob(f"*_bindings-{version}-*.whl"))
    if len(wheels) != 1:
        pytest.fail(f"the bindings of TensorRT {version} are not in {BINDINGS}: run 'make setup'")
    with zipfile.ZipFile(wheels[0]) as wheel:
        names = [name for name in wheel.namelist() if name.endswith((".so", "tensorrt_bindings/__init__.py"))]
        return b"\0".join(wheel.read(name) for name in names)


def missing(names: set[str], version: str) -> set[str]:
    content = binding(version)
    held = {name for name in names if name.encode() + b"\0" in content or f"\n{name} =".encode() in content}
    return names - held


@cache
def public_names() -> frozenset[str]:
    """All names of the library that is here: of its classes, of their members, and of its functions."""
    classes = [value for _, value in inspect.getmembers(trt, inspect.isclass)]
    python = {name for kind in (object, list, dict, BufferedWriter) for name in dir(kind)}
    members = {name for kind in classes for name in dir(kind)} - python
    own = {name for name, value in inspect.getmembers(trt) if not inspect.ismodule(value)}
    return frozenset({*own, *members, "__version__"})


def used_names(source: str) -> set[str]:
    """Attributes and overridden methods that carry a name of the library's, and all that is taken from its module."""
    tree = ast.parse(source)
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    methods = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    constants = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return ((attributes | methods | constants) & public_names()) | set(_of_module(tree))


def _of_module(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and "module" in _chain(node.value):
            yield node.attr


def _chain(node: Any) -> list[str]:
    """`a.b.c` as `[a, b, c]`."""
    if isinstance(node, ast.Attribute):
        return [*_chain(node.value), node.attr]
    return [node.id] if isinstance(node, ast.Name) else []


@pytest.mark.parametrize("version", VERSIONS)
def test_every_name_is_in_every_version(version: str) -> None:
    for path in SOURCES:
        excepted = EXCEPTED[version] if path == LIBRARY else set()
        assert missing(used_names(path.read_text(encoding="utf-8")), version) - excepted == set(), path


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_excepted_is_missing_and_used(version: str) -> None:
    assert missing(EXCEPTED[version], version) == EXCEPTED[version]
    assert EXCEPTED[version] <= used_names(LIBRARY.read_text(encoding="utf-8"))


def test_the_names_are_found() -> None:
    found = set().union(*(used_names(path.read_text(encoding="utf-8")) for path in SOURCES))
    expected = (
        "Builder OnnxParser parse_from_file set_shape build_serialized_network IProgressMonitor phase_start INTERNAL_ERROR"
    )
    assert set(expected.split()) <= found


@pytest.mark.parametrize(
    ("source", "version", "names"),
    [
        ("library.module.made_up_name", "10.3.0", {"made_up_name"}),
        ("library.module.made_up_name()", "11.4.0.106", {"made_up_name"}),
        ("config.set_flag(library.module.BuilderFlag.FP16)", "10.3.0", set()),
        ("config.set_flag(library.module.BuilderFlag.FP16)", "10.16.1.11", set()),
        ("config.set_flag(library.module.BuilderFlag.FP16)", "11.4.0.106", {"FP16"}),
        (
            "builder.build_serialized_network_to_stream(network, config, writer)",
            "10.3.0",
            {"build_serialized_network_to_stream"},
        ),
        ("builder.build_serialized_network_to_stream(network, config, writer)", "10.16.1.11", set()),
        ("layer.attention.decomposable = True", "10.3.0", {"attention", "decomposable"}),
    ],
)
def test_a_name_that_a_version_lacks_is_found(source: str, version: str, names: set[str]) -> None:
    assert missing(used_names(source), version) == names


def test_without_the_bindings_nothing_passes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(globals(), "BINDINGS", tmp_path)
    binding.cache_clear()
    with pytest.raises(pytest.fail.Exception, match="run 'make setup'"):
        missing({"Builder"}, "10.3.0")
