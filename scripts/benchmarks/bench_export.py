"""Time and memory of an export: a random LLaDA-shaped checkpoint, written again and hard-linked.

python -m dllm_edge.scripts.benchmarks.bench_export [--scale 8b|135m|tiny] [--folder DIR] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..checkpoints.random_llada import SCALES, write_random_llada

SAMPLE_SECONDS = 0.02
# Run in a process of its own, so that nothing else is in what is measured.
EXPORT = """
import json, sys, time
from pathlib import Path
from dllm_edge.export.bundle import export_bundle
started, seconds = time.perf_counter(), {}
def progress(stage, fraction):
    if fraction == 1:
        seconds[stage] = time.perf_counter() - started - sum(seconds.values())
export_bundle(Path(sys.argv[1]), Path(sys.argv[2]), link=sys.argv[3] == "link", progress=progress)
print(json.dumps(seconds))
"""


@dataclass(frozen=True)
class ExportMeasurement:
    """One export: bytes of the checkpoint's weights and of what the bundle adds to the disk, the process' seconds (also of
    its two stages), its largest anonymous resident memory in bytes (imports included), and their ratio to the weights."""

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
        return self.peak_anonymous_bytes / self.checkpoint_bytes


def bench_export(scale: str, folder: Path) -> list[ExportMeasurement]:
    """Export a checkpoint of `scale` (a key of `SCALES`) in a new folder below `folder`, which is removed again.

    Needs twice the checkpoint's size on disk: 32 GB for 8b. Linux only (`/proc`).
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="bench-export-") as place:
        checkpoint, bundle = Path(place) / "checkpoint", Path(place) / "bundle"
        size = write_random_llada(checkpoint, SCALES[scale])
        measurements = []
        for mode in ("link", "write"):
            seconds, stages, peak = _measure([sys.executable, "-c", EXPORT, str(checkpoint), str(bundle), mode])
            written = sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file() and file.stat().st_nlink == 1)
            measurements.append(
                ExportMeasurement(scale, mode, size, written, seconds, stages["weights"], stages["graphs"], peak)
            )
            shutil.rmtree(bundle)
    return measurements


def _measure(command: list[str]) -> tuple[float, dict[str, float], int]:
    """Seconds of a command, the JSON that it prints, and the peak of its anonymous resident memory in bytes."""
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
    """Anonymous resident memory of a process in bytes; 0 where it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    found = [line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(found[0]) * 1024 if found else 0


def main() -> None:
    parser = argparse.ArgumentParser(description="time and memory of an export")
    parser.add_argument("--scale", choices=SCALES, default="tiny")
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("TMPDIR", tempfile.gettempdir())))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    measurements = bench_export(given.scale, given.folder)
    if given.json:
        print(json.dumps([asdict(found) | {"memory_ratio": found.memory_ratio} for found in measurements]))
        return
    table = Table(title=f"export, LLaDA {given.scale} shape, bfloat16, four graphs")
    for title in ("weights are", "checkpoint", "written", "seconds", "of them graphs", "peak memory", "share"):
        table.add_column(title, justify="left" if title == "weights are" else "right")
    for found in measurements:
        table.add_row(
            "linked" if found.mode == "link" else "written",
            f"{found.checkpoint_bytes / 1e9:.2f} GB",
            f"{found.written_bytes / 1e9:.2f} GB",
            f"{found.seconds:.1f}",
            f"{found.graphs_seconds:.1f}",
            f"{found.peak_anonymous_bytes / 1e6:.0f} MB",
            f"{found.memory_ratio:.3f}x",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
