"""What the pages say of engines, GPUs, flavours, dtypes and weight formats is what the table of engines says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import dllm_edge
from dllm_edge.export.plan.devices import DEVICES, find_device
from dllm_edge.export.plan.target import target_of
from dllm_edge.graphs.dtypes import FLOATS
from dllm_edge.graphs.weight_formats import WeightFormat, WeightFormats
from dllm_edge.runtime.engines.support import check_taken, row_of, rows_of, version_of
from dllm_edge.runtime.engines.support_table import RTX, Level

ROOT = Path(dllm_edge.__file__).parent
WORDS: dict[Level, str] = {"run": "run", "built": "built", "expected": "expected", "unknown": "not known", "refused": "refused"}
COLUMNS = ("onnxruntime-x86_64", "onnxruntime-cuda", "tensorrt-rtx", "tensorrt")


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def table(name: str, header: str) -> list[list[str]]:
    """The cells of the rows below the header that begins so."""
    lines = page(name).split(f"\n| {header} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


FORMATS = table("docs/support.md", "dtype or format")


def levels(engine: str, row: str) -> list[Level]:
    """What the table has for a row of the page, for each range of the engine's versions."""
    name = row.split(",")[0]
    if name in FLOATS:
        early: list[Level] = ["refused"] if name == "bfloat16" and rows_of(engine)[0].bfloat16_from > (0, 0) else []
        return [each.level for each in rows_of(engine)] + early
    groups = [int(group) for group in re.findall(r"\d+", row.split(",", 1)[1])]
    return [each.integers[name, group].level for each in rows_of(engine) for group in groups]


@pytest.mark.parametrize(("row", "column"), [(cells[0], column) for cells in FORMATS for column in range(1, 5)])
def test_dtypes_and_formats(row: str, column: int) -> None:
    cell = next(cells[column] for cells in FORMATS if cells[0] == row)
    said = {level for level, word in WORDS.items() if re.search(rf"\b{word}\b", cell)}
    assert said == set(levels(COLUMNS[column - 1], row))


def test_every_format_is_in_the_page() -> None:
    named = {(row.split(",")[0], group) for row, *_ in FORMATS for group in re.findall(r"\d+", row.partition(",")[2])}
    assert named == {(name, str(group)) for name, group in rows_of("tensorrt")[0].integers}
    assert {row for row, *_ in FORMATS if "," not in row} == set(FLOATS)


ENGINES = {
    "ONNX Runtime, CPU": "onnxruntime-x86_64",
    "ONNX Runtime, CUDA": "onnxruntime-cuda",
    "TensorRT for RTX": "tensorrt-rtx",
    "TensorRT": "tensorrt",
    "TensorRT 10.3, JetPack 6.2": "tensorrt",
    "TensorRT, JetPack 7.2": "tensorrt",
}


@pytest.mark.parametrize("cells", table("docs/support.md", "engine"), ids=lambda cells: f"{cells[0]} {cells[1]} {cells[2]}")
def test_engines_their_flavours_and_gpus(cells: list[str]) -> None:
    engine, versions, hardware, flavours, built, run = cells
    name = "onnxruntime-aarch64" if hardware == "aarch64" else ENGINES[engine]
    rows = [row_of(name, version_of(version)) for version in re.findall(r"\d+\.\d+", versions)]
    capabilities = [] if name.startswith("onnxruntime") else [version_of(each) for each in re.findall(r"\b\d+\.\d\b", hardware)]
    if flavours not in ("fused, portable", "portable") and len(flavours) == 1:
        assert not any(rows[0].runs_on(capability) for capability in capabilities)
        assert "refuse" in run
        return
    assert all(row.runs_on(capability) for row in rows for capability in capabilities)
    if name == "tensorrt-rtx":
        assert {row.level_on(capability) for row in rows for capability in capabilities} == {
            "built" if built == "yes" else "expected"
        }
    else:
        words = {"run": ("yes", "the runtime's tests"), "expected": ("no; expected",)}[rows[0].level]
        assert run.startswith(words)
    if "the same" not in flavours and "kernels" not in flavours and "from 1.24" not in flavours:
        assert {row.flavours for row in rows} == {tuple(flavours.split(", "))}


def test_the_targets_of_rtx() -> None:
    row = next(line for line in page("docs/tensorrt.md").splitlines() if line.startswith("| `tensorrt-rtx`"))
    listed = re.findall(r"`sm(\d+)`", row)
    assert [version_of(f"sm{number}") for number in listed] == list(RTX)
    row = next(line for line in page("docs/datacenter.md").splitlines() if line.startswith("| TensorRT for RTX | engines"))
    taken, refused = row.split("|")[3].split("**not**")
    assert [version_of(number) for number in re.findall(r"\d+\.\d+", taken)] == list(RTX)
    assert not {version_of(number) for number in re.findall(r"\d+\.\d+", refused)} & set(RTX)


def test_the_flavours_of_jetpacks() -> None:
    rows = {cells[0]: cells[1:] for cells in table("docs/jetson.md", "| JetPack 6.2 | JetPack 7.2")}
    for version, flavours in zip(rows["TensorRT"], rows["graphs that it takes"], strict=True):
        assert row_of("tensorrt", version_of(version.split("-")[0])).flavours == tuple(flavours.split(" and "))


def commands() -> Iterator[tuple[str, list[str]]]:
    for name in ("README.md", *(f"docs/{file.name}" for file in sorted((ROOT / "docs").glob("*.md")))):
        for line in page(name).splitlines():
            if re.match(r"dllm-edge (plan|export) [^C]", line):
                yield name, shlex.split(line, comments=True)


def option(words: list[str], name: str, default: str) -> str:
    return words[words.index(name) + 1] if name in words else default


@pytest.mark.parametrize(("name", "words"), list(commands()), ids=str)
def test_what_the_pages_export_and_plan_is_taken(name: str, words: list[str]) -> None:
    group = int(option(words, "--group", "32"))
    linear, head = (WeightFormat.named(option(words, each, "plain"), group) for each in ("--weights", "--head-weights"))
    if name in ("README.md", "docs/jetson.md") and linear.quantised:
        newest = rows_of("tensorrt")[0]
        assert {newest.integers[each.name, group].level for each in (linear, head) if each.quantised} == {"expected"}
    device = option(words, "--device", "")
    if device in DEVICES:
        check_taken(target_of(find_device(device)).use("bfloat16", WeightFormats(linear, head)))
