from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dllm_edge.export.tensorrt.options import BuildOptions
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.scripts.cli.engine_build.command import build_bundle
from dllm_edge.scripts.cli.engine_build.workload import Decodes
from dllm_edge.scripts.cli.main import main

OPTIONS = (
    "--runtime tensorrt-rtx --target sm86 --systems fast-dllm-dual --context 48 --gen-length 16 --set block_length=8".split()
)


@pytest.fixture
def bundle(tiny_bundle: Callable[..., Path], tmp_path: Path) -> Path:
    return shutil.copytree(tiny_bundle("llada"), tmp_path / "bundle")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["build", *map(str, arguments)])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


def test_a_build_says_what_it_does_and_a_second_does_nothing(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorrt_rtx")
    code, out, _ = run(capsys, bundle, *OPTIONS)
    assert code == 0
    assert "for sm86" in out
    assert re.search(r"2 profiles; estimate: \d+ s \(on 2 cores\), 60\d\.\d MB of memory\n.*engine ", out, re.DOTALL)
    assert "built but not run: this machine shows no GPU" in out
    assert out.rstrip().endswith("done")
    code, out, _ = run(capsys, bundle, *OPTIONS)
    assert (code, "already built, nothing to do" in out) == (0, True)
    assert "done" not in out
    code, out, err = run(capsys, bundle, *OPTIONS, "--json")
    assert err.startswith("2 profiles; estimate: ")
    data = json.loads(out)
    assert (code, data["built"], data["run"]) == (0, False, False)
    code, out, _ = run(capsys, bundle, *[option if option != "48" else "56" for option in OPTIONS])
    assert (code, "took the place of an engine for other sizes" in " ".join(out.split())) == (0, True)
    assert data["fingerprint"]["workload"]["profiles"][0] == {"batch": 1, "queries": 48, "capacity": 2, "rows": 8, "targets": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--runtime", "cuda"], "unknown runtime 'cuda': choose one of tensorrt, tensorrt-rtx"),
        (["--runtime", "tensorrt-rtx", "--target", "sm87"], "does not build for 'sm87'"),
        (["--runtime", "tensorrt-rtx", "--target", "sm80"], "does not build for 'sm80': choose of sm86, sm89, sm120, sm121"),
        ([*OPTIONS, "--set", "speed=1"], "none of fast-dllm-dual has a setting 'speed'"),
        (
            [*OPTIONS, "--context", "8"],
            "beside gen_length=16: use --context 17 or more, or --gen-length 7 or less",
        ),
        ([*OPTIONS, "--context", "many"], "--context many: must be numbers from 2 to"),
        ([*OPTIONS, "--compute", "bfloat16"], "needs a step graph that is fused or portable in bfloat16"),
        ([*OPTIONS, "--flavour", "dense"], "does not take the flavour 'dense'"),
        ([*OPTIONS, "--optimization-level", "9"], "optimization-level"),
    ],
)
def test_bad_input_is_one_line(bundle: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    pytest.importorskip("tensorrt_rtx")
    code, out, err = run(capsys, bundle, *options, "--json")
    assert (code, out) == (2, "")
    assert message in err
    assert err.strip().splitlines()[-1].startswith("error: ")
    assert not (bundle / "engines").exists()


def test_a_build_that_does_not_fit_in_memory_does_not_begin(bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    scarce = tmp_path / "meminfo"
    scarce.write_text("MemAvailable: 200000 kB\nSwapFree: 100000 kB\n")

    def build(**more: bool) -> None:
        decodes = Decodes(("vanilla",), {"gen_length": "32"}, "48", 1)
        build_bundle(str(bundle), "tensorrt-rtx", ["sm86"], decodes, BuildOptions(), True, **more, meminfo=scarce)

    with pytest.raises(DllmEdgeError, match=r"takes about 0\.6 GB .* has 0\.3 GB free"):
        build()
    assert not (bundle / "engines").exists()
    build(ignore_memory=True)
    # It is there, and takes no memory any more.
    build()
