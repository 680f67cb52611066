"""Time and memory of exporting a large checkpoint, hard-linked and written again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.table import Table

from ..checkpoints.random_llada import SCALES, write_random_llada
from . import export_once
from .finding import Finding, Part
from .setup import Progress, Setup, within

MODES = ("link", "write")
SAMPLE_SECONDS = 0.02
LARGEST_MEMORY, LARGEST_SECONDS = 2e9, 300.0
COLUMNS = ("checkpoint", "written", "seconds", "of them graphs", "peak memory", "share")


@dataclass(frozen=True)
class ExportMeasurement:
    """One export: bytes of the checkpoint's weights and of what the bundle adds to the disk, the process' seconds (also of
    its two stages), and its largest anonymous resident memory in bytes (imports included)."""

    scale: str
    mode: str
    checkpoint_bytes: int
    written_bytes: int
    seconds: float
    weights_seconds: float
    graphs_seconds: float
    peak_anonymous_bytes: int

    @property
    def memory_ratio(self) -> float:
        """Peak memory over the checkpoint's bytes."""
        return self.peak_anonymous_bytes / self.checkpoint_bytes


def measure_export(setup: Setup, progress: Progress) -> Part:
    """Export a checkpoint of `setup.export_scale`; needs twice its size on disk (32 GB for 8b) and Linux (`/proc`)."""
    part = Part("export", f"export of a random LLaDA checkpoint of scale {setup.export_scale}")
    measurements = measure_modes(setup.export_scale, Path(setup.folder.name), progress)
    for measurement in measurements:
        part.findings += _findings(measurement)
    part.tables = [_table(measurements)]
    part.data = {"measurements": [asdict(measurement) for measurement in measurements]}
    return part


def measure_modes(scale: str, folder: Path, progress: Progress) -> list[ExportMeasurement]:
    """Export a checkpoint of `scale` (a key of `SCALES`) once in each mode; nothing of it is left in `folder`."""
    checkpoint, bundle = folder / f"export-{scale}", folder / f"export-{scale}.bundle"
    total = write_random_llada(checkpoint, SCALES[scale])
    measurements = []
    for index, mode in enumerate(MODES):
        within(progress, index, len(MODES))(0.5)
        seconds, stages, peak = _measure([sys.executable, "-m", export_once.__name__, str(checkpoint), str(bundle), mode])
        times = (seconds, stages["weights"], stages["graphs"])
        measurements.append(ExportMeasurement(scale, mode, total, _written_bytes(bundle), *times, peak))
        shutil.rmtree(bundle)
    shutil.rmtree(checkpoint)
    return measurements


def _written_bytes(bundle: Path) -> int:
    """Return the bytes of a bundle's files that are not links to the checkpoint's."""
    return sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file() and file.stat().st_nlink == 1)


def _measure(command: Sequence[str]) -> tuple[float, dict[str, float], int]:
    """Return the seconds of a command, the JSON that it prints, and the peak of its anonymous resident memory in bytes."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, anonymous_bytes(process.pid))
        time.sleep(SAMPLE_SECONDS)
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"export failed with code {process.returncode}")
    return time.perf_counter() - started, json.loads(output.splitlines()[-1]), peak


def anonymous_bytes(process: int) -> int:
    """Return the anonymous resident memory of a process in bytes; 0 where it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    kibibytes = [line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(kibibytes[0]) * 1024 if kibibytes else 0


def _findings(measurement: ExportMeasurement) -> list[Finding]:
    mode, written = measurement.mode, measurement.written_bytes
    memory = measurement.peak_anonymous_bytes / 1e9
    return [
        Finding.at_most(f"{mode}: seconds", measurement.seconds, LARGEST_SECONDS, " s"),
        Finding.at_most(f"{mode}: peak anonymous memory", memory, LARGEST_MEMORY / 1e9, " GB"),
        Finding(f"{mode}: written", written, f"{written / 1e9:.2f} GB"),
    ]


def _table(measurements: Sequence[ExportMeasurement]) -> Table:
    table = Table(title="bfloat16, four graphs", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("weights are")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for measurement in measurements:
        table.add_row(
            "linked" if measurement.mode == "link" else "written",
            f"{measurement.checkpoint_bytes / 1e9:.2f} GB",
            f"{measurement.written_bytes / 1e9:.2f} GB",
            f"{measurement.seconds:.1f}",
            f"{measurement.graphs_seconds:.1f}",
            f"{measurement.peak_anonymous_bytes / 1e6:.0f} MB",
            f"{measurement.memory_ratio:.3f}x",
        )
    return table
