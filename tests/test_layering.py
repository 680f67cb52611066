"""Who may import whom: the graph contract <- runtime <- export <- calibration <- scripts; torch stays out of the runtime."""

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

# The parts of the house; a module belongs to the longest name that begins its own.
PARTS = {
    "": "api",
    "calibration": "calibration",
    "demo": "demo",
    "demo.evaluate": "evaluation",
    "demo.train": "training",
    "export": "export",
    "export.json_file": "plan",
    "export.parity": "parity",
    "export.parity.layers": "export",
    "export.parity.reference": "export",
    "export.parity.validate": "export",
    "export.plan": "plan",
    "export.staging": "compiler",
    "export.tensorrt": "compiler",
    "graphs": "torch graphs",
    "graphs.config": "contract",
    "graphs.contract": "contract",
    "graphs.errors": "contract",
    "graphs.families": "contract",
    "graphs.weight_formats": "contract",
    "runtime": "runtime",
    "scripts": "scripts",
}
HOUSE = {"compiler", "contract", "demo", "evaluation", "export", "parity", "plan", "runtime"}
MAY_IMPORT = {
    "contract": {"contract"},
    "torch graphs": {"contract", "torch graphs"},
    "runtime": {"contract", "runtime"},
    "api": {"contract", "runtime"},
    "plan": {"contract", "plan", "runtime"},
    "compiler": {"compiler", "contract", "plan", "runtime"},
    "parity": {"contract", "evaluation", "demo", "parity", "runtime"},
    "demo": {"contract", "demo"},
    "evaluation": {"contract", "demo", "evaluation", "runtime"},
    "training": {"contract", "demo", "torch graphs"},
    "export": {"torch graphs", *HOUSE},
    "calibration": {"calibration", "torch graphs", *HOUSE},
    "scripts": {"api", "calibration", "scripts", *HOUSE},
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
LIGHT_PARTS = ("contract", "runtime", "api", "plan", "compiler", "parity")


def part_of(module: str) -> str:
    """The part of a module, whose name is given without `dllm_edge.`; empty for the package itself."""
    while module not in PARTS:
        module = module.rpartition(".")[0]
    return PARTS[module]


def module_files() -> dict[str, Path]:
    """The package's modules by name without `dllm_edge.`; packages under their own name."""
    files = [ROOT / "__init__.py", *(path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))]
    names = [path.relative_to(ROOT).with_suffix("").parts for path in files]
    return {".".join(part for part in parts if part != "__init__"): path for parts, path in zip(names, files, strict=True)}


MODULES = module_files()


def imported(module: str, source: str, package: bool) -> Iterator[str]:
    """Full names of all modules that a source imports anywhere, in functions and for type checking too."""
    place = ["dllm_edge", *(part for part in module.split(".") if part)]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = place[: len(place) - node.level + package] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{origin}.{alias.name}"
                yield name if name.removeprefix("dllm_edge.") in MODULES else origin


def violations(module: str, source: str, package: bool = False) -> list[str]:
    """What a source imports that its part of the house must not."""
    part, found = part_of(module), []
    for name in imported(module, source, package):
        top, _, inner = name.partition(".")
        if top == "dllm_edge":
            # A package that only gathers submodules is crossed on the way to any of them.
            if not (inner == "graphs" or part_of(inner) in MAY_IMPORT[part]):
                found.append(f"{module or 'dllm_edge'} ({part}) imports {inner or 'dllm_edge'} ({part_of(inner)})")
        elif part in LIGHT_PARTS and top not in sys.stdlib_module_names | RUNTIME_LIBRARIES:
            found.append(f"{module or 'dllm_edge'} ({part}) imports {top}, which the runtime does not install with")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_follow_the_layers(module: str) -> None:
    path = MODULES[module]
    assert violations(module, path.read_text(encoding="utf-8"), path.name == "__init__.py") == []


@pytest.mark.parametrize(
    ("module", "source", "count"),
    [
        ("runtime.cache", "from ..graphs.contract import Profile\nimport numpy", 0),
        ("runtime.cache", "def f():\n    import torch", 1),
        ("runtime.cache", "from ..graphs.attention import attend", 1),
        ("runtime.cache", "from ..graphs import contract, attention", 1),
        ("runtime.engines.base", "from ..cache import Slots\nfrom ...graphs.config import ModelConfig", 0),
        ("runtime.engines.base", "from ...export.checkpoint import Checkpoint", 1),
        ("export.onnx", "from dllm_edge.scripts import smollm2", 1),
        ("export.onnx", "import torch\nfrom ..graphs.step import Step\nfrom ..runtime import driver", 0),
        ("export.plan.estimate", "from ...runtime.systems import find_system\nfrom ..json_file import read_object", 0),
        ("export.plan.estimate", "from ..checkpoint import Checkpoint", 1),
        ("export.plan.estimate", "import torch", 1),
        ("export.tensorrt.build", "from ..staging import staged\nfrom ...runtime.bundle import Bundle", 0),
        ("export.tensorrt.build", "from ..onnx import write_step", 1),
        ("export.tensorrt.build", "import onnx", 1),
        ("graphs.config", "from .attention import Flavour", 1),
        ("graphs.families", "from .llama import FAMILY", 0),
        ("scripts.cli", "from ..graphs.step import Step", 1),
        ("demo.train", "from ..graphs.transformer import Transformer\nfrom .task import problem", 0),
        ("demo.task", "from ..graphs.transformer import Transformer", 1),
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
import dllm_edge.export.parity.engines, dllm_edge.export.tensorrt, dllm_edge.graphs.families, dllm_edge.runtime
for package in (dllm_edge.export.parity.engines, dllm_edge.export.tensorrt, dllm_edge.graphs.families, dllm_edge.runtime):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(found.name)
        print(found.name)
"""


def test_runtime_imports_without_torch(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    light = ("export.parity.engines.", "export.tensorrt.", "graphs.families.", "runtime.")
    assert set(done.stdout.split()) == {f"dllm_edge.{name}" for name in MODULES if name.startswith(light)}
