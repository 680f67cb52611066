from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dllm_edge.export.tensorrt.build import Built, build_engine
from dllm_edge.export.tensorrt.compilation import Compilation
from dllm_edge.export.tensorrt.options import BuildOptions
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.profiles import Workload
from dllm_edge.runtime.engines.tensorrt.engine_folder import EngineFolder, find_engine
from dllm_edge.runtime.engines.tensorrt.fingerprint import read_fingerprint
from dllm_edge.runtime.engines.tensorrt.library import Library

from ...permissions import permissions_hold
from .builds import OTHER, SMALL, entries


@pytest.fixture
def build(bundle: Bundle, rtx: Library) -> Callable[..., Built]:
    """Build the bundle's engine for sm86; `workload`, `trial`, and `BuildOptions`' fields by name."""

    def build(workload: Workload = SMALL, trial: Any = None, targets: tuple[str, ...] = ("sm86",), **options: Any) -> Built:
        return build_engine(Compilation(bundle, rtx, targets, BuildOptions(**options)), workload, trial=trial)

    return build


def test_an_engine_is_found_where_it_was_built(build: Callable[..., Built], bundle: Bundle, rtx: Library) -> None:
    built = build(OTHER, targets=("sm86", "sm120"))
    assert built.fresh
    for target in ("sm86", "sm120"):
        found = find_engine(bundle, "tensorrt-rtx", rtx.version, target)
        assert found == built.engine
        assert found.fingerprint.workload == OTHER
        assert all(found.engine_file(name).stat().st_size > 0 for name in ("step", "saliency", "select"))
    assert entries(bundle) == [f"tensorrt-rtx-{rtx.version}-sm86+sm120"]
    assert Bundle.open(bundle.path, verify=True) == bundle


def test_a_second_build_of_the_same_does_nothing(build: Callable[..., Built]) -> None:
    first = build()
    before = first.engine.engine_file("step").stat()
    second = build()
    assert not second.fresh
    assert second.engine == first.engine
    assert second.engine.engine_file("step").stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize(
    "change",
    [{"workload": OTHER}, {"flavour": "portable"}, {"optimization_level": 1}, {"workspace": 1 << 26}],
)
def test_another_build_replaces_it(build: Callable[..., Built], bundle: Bundle, change: dict[str, Any]) -> None:
    first = build()
    second = build(**change)
    assert second.fresh
    assert second.engine.path == first.engine.path
    assert read_fingerprint(first.engine.path) == second.engine.fingerprint != first.engine.fingerprint
    assert len(entries(bundle)) == 1


def test_a_damaged_engine_is_built_again(build: Callable[..., Built]) -> None:
    build().engine.engine_file("step").write_bytes(b"damaged")
    again = build()
    assert again.fresh
    assert again.engine.engine_file("step").stat().st_size == again.engine.fingerprint.plans["step.plan"].size


def test_engines_for_other_gpus_stand_side_by_side(build: Callable[..., Built], bundle: Bundle, rtx: Library) -> None:
    for target in ("sm80", "sm89"):
        build(targets=(target,))
    assert entries(bundle) == [f"tensorrt-rtx-{rtx.version}-{target}" for target in ("sm80", "sm89")]


def test_an_engine_that_does_not_run_never_stands(build: Callable[..., Built], bundle: Bundle) -> None:
    def refuse(engine: EngineFolder) -> None:
        assert engine.engine_file("step").stat().st_size == engine.fingerprint.plans["step.plan"].size
        raise DllmEdgeError("it does not run")

    first = build()
    with pytest.raises(DllmEdgeError, match="it does not run"):
        build(OTHER, trial=refuse)
    assert entries(bundle) == [first.engine.path.name]
    assert read_fingerprint(first.engine.path) == first.engine.fingerprint


def test_a_build_that_is_refused_leaves_nothing_and_one_that_is_needless_is_not_asked_for(bundle: Bundle, rtx: Library) -> None:
    def refuse() -> None:
        raise DllmEdgeError("no memory")

    compilation = Compilation(bundle, rtx, ("sm86",), BuildOptions())
    with pytest.raises(DllmEdgeError, match="no memory"):
        build_engine(compilation, SMALL, before_build=refuse)
    assert not (bundle.path / "engines").exists()
    build_engine(compilation, SMALL)
    assert not build_engine(compilation, SMALL, before_build=refuse).fresh


def test_flavours(bundle: Bundle, rtx: Library) -> None:
    with pytest.raises(DllmEdgeError, match="does not take the flavour 'dense': choose fused or portable"):
        build_engine(Compilation(bundle, rtx, ("sm86",), BuildOptions(flavour="dense")), SMALL)
    old = replace(rtx, name="tensorrt", version="10.3.0")
    with pytest.raises(DllmEdgeError, match=r"TensorRT 10\.3\.0 does not take the flavour 'fused': choose portable"):
        build_engine(Compilation(bundle, old, ("sm87",), BuildOptions(flavour="fused")), SMALL)
    with pytest.raises(DllmEdgeError, match="needs a step graph that is fused or portable in float16"):
        build_engine(Compilation(bundle, rtx, ("sm86",), BuildOptions(compute="float16")), SMALL)


def test_a_bundle_that_cannot_be_written(build: Callable[..., Built], bundle: Bundle) -> None:
    bundle.path.chmod(0o555)
    with permissions_hold(), pytest.raises(DllmEdgeError, match="make the bundle's folder writable"):
        build()
    bundle.path.chmod(0o755)


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from dllm_edge.export.tensorrt.build import build_engine
from dllm_edge.export.tensorrt.compilation import Compilation
from dllm_edge.export.tensorrt.options import BuildOptions
from dllm_edge.graphs.contract import Profile
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.profiles import Workload
from dllm_edge.runtime.engines.tensorrt.library import find_library

def interrupt(graph, phase, share):
    if share > 0.05:
        os.kill(os.getpid(), signal.{signal})

try:
    workload = Workload((Profile(1, 4, 8, 4),))
    compilation = Compilation(Bundle.open(Path(sys.argv[1])), find_library("tensorrt-rtx"), ("sm89",), BuildOptions())
    build_engine(compilation, workload, progress=interrupt)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 0), ("SIGKILL", -signal.SIGKILL)])
def test_an_interrupted_build_leaves_nothing_that_opens(
    build: Callable[..., Built], bundle: Bundle, name: str, code: int, rtx: Library
) -> None:
    script = textwrap.dedent(INTERRUPTED).replace("{signal}", name)
    done = subprocess.run([sys.executable, "-c", script, str(bundle.path)], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert done.stdout.strip() == ("interrupted" if name == "SIGINT" else "")
    with pytest.raises(DllmEdgeError, match="there is no engine for TensorRT-RTX"):
        find_engine(bundle, "tensorrt-rtx", rtx.version, "sm89")
    assert build(targets=("sm89",)).fresh
    assert entries(bundle) == [f"tensorrt-rtx-{rtx.version}-sm89"]


WITHOUT_EXPORT = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "onnx", "onnx_ir", "onnxscript", "transformers"}:
            raise ImportError(f"{name} is not to be imported")
sys.meta_path.insert(0, Refuse())
from dllm_edge.scripts.cli.main import main
options = "--runtime tensorrt-rtx --target sm86 --context 32 --gen-length 16 --set block_length=8"
main(["build", sys.argv[1], *options.split()])
"""


def test_the_command_needs_neither_torch_nor_onnx(bundle: Bundle, rtx: Library, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_EXPORT, str(bundle.path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert entries(bundle) == [f"tensorrt-rtx-{rtx.version}-sm86"]
