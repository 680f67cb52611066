from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from unittest import mock

import pytest

import dllm_edge
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.onnxruntime import installation
from dllm_edge.runtime.engines.onnxruntime.installation import require_onnxruntime
from dllm_edge.runtime.engines.open import open_engine

PYPROJECT = Path(dllm_edge.__file__).parent / "pyproject.toml"


@pytest.mark.parametrize(("device", "extra"), [("cpu", "cpu"), ("cuda", "gpu")])
def test_a_missing_one_names_its_extra(device: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DllmEdgeError, match=rf"^ONNX Runtime is not installed: pip install 'dllm-edge\[{extra}\]'$"):
        open_engine(mock.create_autospec(Bundle), "onnxruntime", device)
    assert re.search(rf"^{extra} = \[.*onnxruntime", PYPROJECT.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("there", [("onnxruntime",), ("onnxruntime-gpu",), ("onnxruntime", "onnxruntime-gpu")])
def test_two_over_each_other_are_told(there: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name in there:
            return "1.31.1"
        raise PackageNotFoundError(name)

    monkeypatch.setattr(installation, "version", version)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        require_onnxruntime()
    found = [str(warning.message) for warning in caught]
    expected = "onnxruntime 1.31.1 and onnxruntime-gpu 1.31.1 are installed over each other: pip uninstall onnxruntime onn"
    assert [message[: len(expected)] for message in found] == ([expected] if len(there) == 2 else [])


def test_the_base_installs_neither() -> None:
    text = PYPROJECT.read_text(encoding="utf-8")
    base = text.split("\ndependencies = [")[1].split("\n]")[0]
    assert "numpy" in base
    assert "onnxruntime" not in base


def test_what_can_do_without_imports_none(tmp_path: Path) -> None:
    """The public name, TensorRT's engine, building one, what the command line begins with, and the benchmark of GPUs."""
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "import dllm_edge, dllm_edge.runtime.engines.tensorrt.open, dllm_edge.export.tensorrt.build\n"
        "import dllm_edge.scripts.gpu_bench, dllm_edge.scripts.benchmarks.gpu.once\n"
        "from dllm_edge.scripts.cli.main import COMMANDS, load_command\n"
        "for name in COMMANDS: load_command(name)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


@pytest.mark.parametrize(("given", "found"), [(None, "1"), ("0", "0")])
def test_it_reports_nothing_unless_the_user_says_so(given: str | None, found: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    if given is not None:
        environment["ORT_DISABLE_TELEMETRY"] = given
    script = "import os, dllm_edge.runtime; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == found
