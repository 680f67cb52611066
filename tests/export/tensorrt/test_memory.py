from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dllm_edge.export.plan.estimate import BUILD_BASE
from dllm_edge.export.tensorrt.memory import check_memory, estimated_build_bytes, free_memory_bytes
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.graphs.weight_formats import WeightFormat, WeightFormats
from dllm_edge.runtime.bundle.bundle import WEIGHTS, Bundle

MEMINFO = (
    "MemTotal:       16000000 kB\nMemFree:  1000 kB\nMemAvailable:   {} kB\nSwapTotal: 9000000 kB\nSwapFree:  {} kB\nHuge: 0\n"
)


@pytest.fixture
def bundle(tiny_bundle: Callable[..., Path]) -> Bundle:
    return Bundle.open(tiny_bundle("llada"))


def meminfo(folder: Path, available: int, swap: int) -> Path:
    """Bytes."""
    file = folder / "meminfo"
    file.write_text(MEMINFO.format(available // 1024, swap // 1024))
    return file


def test_memory_and_swap_are_added(tmp_path: Path) -> None:
    assert free_memory_bytes(meminfo(tmp_path, 2048, 1024)) == 3072


@pytest.mark.parametrize("content", [None, "", "MemAvailable\n", "MemAvailable: 7 kB\n", "MemAvailable:\nSwapFree: 0 kB\n"])
def test_a_system_that_does_not_say(tmp_path: Path, bundle: Bundle, content: str | None) -> None:
    file = tmp_path / "meminfo"
    if content is not None:
        file.write_text(content)
    assert free_memory_bytes(file) is None
    check_memory(bundle, file)


def test_the_estimate_is_of_the_stored_weights(bundle: Bundle) -> None:
    stored = sum(record.size for name, record in bundle.manifest.files.items() if name.startswith(WEIGHTS))
    assert BUILD_BASE + 3 * stored < estimated_build_bytes(bundle) < BUILD_BASE + 4 * stored


def test_more_than_there_is_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    needed = estimated_build_bytes(bundle)
    check_memory(bundle, meminfo(tmp_path, needed // 2 + 2048, needed // 2))
    scarce = meminfo(tmp_path, needed // 4, needed // 4)
    with pytest.raises(
        DllmEdgeError, match=r"about 0\.6 GB of memory, .* 0\.3 GB free .* --weights int4, or .* --ignore-memory"
    ):
        check_memory(bundle, scarce)
    formats = WeightFormats(WeightFormat("int4", 32))
    smallest = replace(bundle, manifest=replace(bundle.manifest, weights=formats))
    with pytest.raises(DllmEdgeError, match="add swap, or build all the same"):
        check_memory(smallest, scarce)
