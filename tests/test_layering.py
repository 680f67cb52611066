"""Who may import whom: graphs <- runtime <- export <- calibration <- scripts; torch stays out of the runtime."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dllm_edge

ROOT = Path(dllm_edge.__file__).parent
PACKAGES = ("calibration", "demo", "export", "graphs", "runtime", "scripts")

# By folder or module what it may import; what is not listed counts to the longest name here that begins its own. A folder may
# always import itself. `torch` stands for torch, onnx and whatever else the runtime does not install with.
LAYERS: dict[str, set[str]] = {
    "": {"graphs", "runtime"},
    "graphs": set(),
    "graphs.modules": {"graphs", "torch"},
    "runtime": {"graphs"},
    "runtime.arrays": set(),
    "runtime.bundle": {"graphs"},
    "runtime.decoding": {"graphs", "runtime.arrays"},
    "runtime.unmasking": {"graphs", "runtime.arrays", "runtime.decoding"},
    "runtime.systems": {"graphs", "runtime.arrays", "runtime.bundle", "runtime.decoding", "runtime.unmasking"},
    "runtime.engines": {"graphs", "runtime.arrays", "runtime.bundle"},
    "runtime.scheduler": {
        "graphs",
        "runtime.arrays",
        "runtime.decoding",
        "runtime.engines",
        "runtime.systems",
        "runtime.unmasking",
    },
    "demo": {"graphs", "runtime"},
    "demo.train": {"demo", "graphs", "graphs.modules", "runtime", "torch"},
    "export": {"graphs", "graphs.modules", "runtime", "torch"},
    "export.exchange": set(),
    "export.json_file": {"graphs", "runtime"},
    "export.missing_folder": {"graphs"},
    "export.parity": {"graphs", "runtime"},
    "export.parity.graph_runner": {"export", "export.parity", "graphs", "runtime", "torch"},
    "export.parity.random_step": {"graphs", "graphs.modules", "torch"},
    "export.parity.reference": {"export", "graphs", "graphs.modules", "runtime", "torch"},
    "export.parity.structure": {"export", "export.parity.weight_locations", "graphs", "runtime", "torch"},
    "export.parity.torch_engine": {"graphs", "graphs.modules", "runtime", "torch"},
    "export.parity.torch_pair": {"export", "export.parity", "graphs", "graphs.modules", "runtime", "torch"},
    "export.parity.torch_runner": {"export", "graphs", "graphs.modules", "runtime", "torch"},
    "export.parity.weight_locations": {"export", "graphs", "runtime", "torch"},
    "export.plan": {"export.json_file", "export.missing_folder", "graphs", "runtime"},
    "export.staging": {"export.exchange", "graphs", "runtime"},
    "export.tensorrt": {"export.plan", "export.staging", "graphs", "runtime"},
    "calibration": {"export", "graphs", "graphs.modules", "runtime", "torch"},
    "scripts": {"", "calibration", "demo", "export", "graphs", "runtime", "torch"},
}
# What the runtime installs with; TensorRT, CUDA and Polygraphy are imported where they are used, if they are there.
RUNTIME_LIBRARIES = {
    "cuda",
    "jinja2",
    "ml_dtypes",
    "numpy",
    "onnxruntime",
    "polygraphy",
    "rich",
    "safetensors",
    "tensorrt",
    "tensorrt_rtx",
    "tokenizers",
}


def layer_of(module: str) -> str:
    """The line of `LAYERS` that a module counts to; its name is given without `dllm_edge.`."""
    while module not in LAYERS:
        module = module.rpartition(".")[0]
    return module


def may_import(layer: str, other: str) -> bool:
    """Whether modules of one line may import those of another; with a folder come the lines inside it, if they need no torch
    or the importing ones may have it."""
    allowed = LAYERS[layer] | {layer}
    inside = any(other.startswith(f"{name}.") for name in allowed - {"", "graphs"})
    return other in allowed or (inside and ("torch" in allowed or "torch" not in LAYERS[other]))


def module_files() -> dict[str, Path]:
    """The package's modules by name without `dllm_edge.`; packages under their own name."""
    files = [ROOT / "__init__.py", *(path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))]
    names = [path.relative_to(ROOT).with_suffix("").parts for path in files]
    return {".".join(part for part in parts if part != "__init__"): path for parts, path in zip(names, files, strict=True)}


MODULES = module_files()


def imported(module: str, source: str, package: bool) -> Iterator[str]:
    """Full names of all modules that a source imports anywhere, in functions and for type checking too."""
    package_path = ["dllm_edge", *(part for part in module.split(".") if part)]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package_path[: len(package_path) - node.level + package] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{origin}.{alias.name}"
                yield name if name.removeprefix("dllm_edge.") in MODULES else origin


def violations(module: str, source: str, package: bool = False) -> list[str]:
    """What a source imports that its layer must not."""
    layer, found = layer_of(module), []
    for name in imported(module, source, package):
        top, _, inner = name.partition(".")
        if top == "dllm_edge":
            # A package that only gathers submodules is crossed on the way to any of them.
            if inner != "graphs" and not may_import(layer, layer_of(inner)):
                found.append(f"{module or 'dllm_edge'} imports {inner or 'dllm_edge'}, which is above or beside it")
        elif "torch" not in LAYERS[layer] and top not in sys.stdlib_module_names | RUNTIME_LIBRARIES:
            found.append(f"{module or 'dllm_edge'} imports {top}, which the runtime does not install with")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_follow_the_layers(module: str) -> None:
    path = MODULES[module]
    assert violations(module, path.read_text(encoding="utf-8"), path.name == "__init__.py") == []


@pytest.mark.parametrize(
    ("module", "source", "count"),
    [
        ("runtime.decoding.canvas", "from ...graphs.contract import Profile\nimport numpy", 0),
        ("runtime.decoding.canvas", "def f():\n    import torch", 1),
        ("runtime.decoding.canvas", "from ...graphs.modules.attention import attend", 1),
        ("runtime.decoding.canvas", "from ...graphs import contract\nfrom ...graphs.modules import attention", 1),
        ("runtime.engines.base", "from ..arrays import IntArray\nfrom ...graphs.config import ModelConfig", 0),
        ("runtime.engines.base", "from ...export.staging import staged", 1),
        ("runtime.engines.tensorrt.open", "from ...scheduler.batch import fill_padding", 1),
        ("runtime.unmasking.quota", "from ..systems.base import System", 1),
        ("runtime.decoding.canvas", "from ..scheduler.request import Request", 1),
        ("runtime.scheduler.batch", "from ..generate import Model", 1),
        ("runtime.generate", "from .scheduler.scheduler import Scheduler", 0),
        ("runtime.evaluation.task", "from ...demo.task import ARITHMETIC", 1),
        ("export.onnx.step_graph", "from dllm_edge.scripts.checkpoints import smollm2", 1),
        (
            "export.onnx.step_graph",
            "import torch\nfrom ...graphs.modules.step import StepModule\nfrom ...runtime import generate",
            0,
        ),
        ("export.plan.estimate", "from ...runtime.systems import find_system\nfrom ..json_file import read_object", 0),
        ("export.plan.estimate", "from ..checkpoint.checkpoint import Checkpoint", 1),
        ("export.plan.estimate", "import torch", 1),
        ("export.tensorrt.build", "from ..staging import staged\nfrom ...runtime.bundle.bundle import Bundle", 0),
        ("export.tensorrt.build", "from ..onnx.step_graph import write_step", 1),
        ("export.tensorrt.build", "import onnx", 1),
        ("graphs.config", "from .modules.attention import attend", 1),
        ("graphs.families", "from .llama import FAMILY", 0),
        ("scripts.cli.main", "from ...graphs.modules.step import StepModule", 1),
        ("demo.train", "from ..graphs.modules.transformer import Transformer\nfrom .task import problem", 0),
        ("demo.task", "from ..graphs.modules.transformer import Transformer", 1),
    ],
)
def test_a_breach_is_found(module: str, source: str, count: int) -> None:
    assert len(violations(module, source, module == "graphs.families")) == count


def test_every_package_is_packaged() -> None:
    listed = re.search(
        r"^packages = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert listed is not None
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    assert set(re.findall(r'"dllm_edge\.?([\w.]*)"', listed[1])) == packages


WITHOUT_TORCH = """
import importlib, pkgutil, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "onnx", "onnx_ir", "onnxscript", "transformers", "gguf"}:
            raise ImportError(f"{name} is not to be imported")

sys.meta_path.insert(0, Refuse())
import dllm_edge.export.tensorrt, dllm_edge.graphs.families, dllm_edge.runtime
for package in (dllm_edge.export.tensorrt, dllm_edge.graphs.families, dllm_edge.runtime):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(found.name)
        print(found.name)
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_runtime_imports_without_torch(tmp_path: Path) -> None:
    parity = [f"dllm_edge.{name}" for name in MODULES if layer_of(name) == "export.parity"]
    assert "dllm_edge.export.parity.validate" in parity
    command = [sys.executable, "-c", WITHOUT_TORCH, *parity]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    light = ("export.tensorrt.", "graphs.families.", "runtime.")
    assert set(done.stdout.split()) == {f"dllm_edge.{name}" for name in MODULES if name.startswith(light)}
