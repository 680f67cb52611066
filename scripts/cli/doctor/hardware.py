"""What a machine says about its GPU: drivers, tools and, on a Jetson, its release; read and asked, never changed."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Ask = Callable[[Sequence[str]], str | None]
"""Runs a command: its stdout, or None where it is missing, fails or takes too long."""

PATIENCE_SECONDS = 10
# By the release of Jetson Linux, as /etc/nv_tegra_release has it.
JETPACKS = {
    "36.3": "6.0",
    "36.4.0": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
    "36.4": "6.2 family",
    "36.5": "6.2.2",
    "39.2": "7.2",
}
# PCI's number of the vendor, and how those of the classes of display devices begin.
NVIDIA, DISPLAY = "0x10de", "0x03"
# Of a board's model: its GPU is not listed with these by nvidia-smi.
BOARDS = {"Orin": "8.7", "Thor": "11.0"}


@dataclass(frozen=True)
class Gpu:
    """`memory` in bytes; None where it is the system's, or unknown."""

    name: str
    memory: int | None
    compute_capability: str | None


@dataclass(frozen=True)
class Hardware:
    """None, or nothing, where a machine does not have it or does not say. `gpus` are those that a driver answers for,
    `nvidia_devices` the display devices of NVIDIA on the PCI bus, `jetson` is the board's model, `cuda_driver` the newest CUDA
    that the driver takes, `cuda_toolkit` the one that is installed."""

    gpus: tuple[Gpu, ...]
    nvidia_devices: int
    driver: str | None
    cuda_driver: str | None
    cuda_toolkit: str | None
    jetson: str | None
    jetson_linux: str | None
    power_mode: str | None
    system_tensorrt: tuple[str, ...]

    @property
    def jetpack(self) -> str | None:
        """Return the JetPack of the longest release that is known to begin this one."""
        if self.jetson_linux is None:
            return None
        parts = self.jetson_linux.split(".")
        known = (JETPACKS.get(".".join(parts[:count])) for count in range(len(parts), 0, -1))
        return next((name for name in known if name), None)

    @property
    def cuda(self) -> str | None:
        """Return the newest CUDA that programs can use."""
        return self.cuda_driver or self.cuda_toolkit


def run(command: Sequence[str]) -> str | None:
    """Return what a command prints, or None where it is missing, fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def probe(root: Path = Path("/"), ask: Ask = run) -> Hardware:
    """Read the machine's files below `root`, and ask its tools by `ask`."""
    model = _read(root / "proc/device-tree/model").strip("\0 \n")
    release = re.search(r"R(\d+) .*?REVISION: ([\d.]+)", _read(root / "etc/nv_tegra_release"))
    jetson = model if release or "Jetson" in model else None
    driver = re.search(r"NVRM version:.*?\s(\d+\.\d+[\d.]*)\s", _read(root / "proc/driver/nvidia/version"))
    header = re.search(r"CUDA(?: UMD)? Version:\s*(\d+\.\d+)", ask(["nvidia-smi"]) or "")
    gpus, asked_driver = _gpus(ask, jetson)
    return Hardware(
        gpus=gpus,
        nvidia_devices=_nvidia_devices(root),
        driver=driver[1] if driver else asked_driver,
        cuda_driver=header[1] if header else None,
        cuda_toolkit=_toolkit(root),
        jetson=jetson,
        jetson_linux=f"{release[1]}.{release[2]}" if release else None,
        power_mode=_power_mode(ask) if jetson else None,
        system_tensorrt=tuple(sorted(f"/{path.relative_to(root)}" for path in _system_tensorrt(root))),
    )


def _nvidia_devices(root: Path) -> int:
    devices = (root / "sys/bus/pci/devices").glob("*")
    return sum(_read(path / "vendor").strip() == NVIDIA and _read(path / "class").startswith(DISPLAY) for path in devices)


def _gpus(ask: Ask, jetson: str | None) -> tuple[tuple[Gpu, ...], str | None]:
    """Return the GPUs and their driver's version, as nvidia-smi lists them; on a Jetson what its model says."""
    if jetson is not None:
        capability = next((number for board, number in BOARDS.items() if board in jetson), None)
        return (Gpu(f"{jetson}, shared memory", None, capability),), None
    query = ["nvidia-smi", "--query-gpu=name,memory.total,compute_cap,driver_version", "--format=csv,noheader"]
    rows = [[cell.strip() for cell in line.split(",")] for line in (ask(query) or "").splitlines()]
    rows = [row for row in rows if len(row) == 4]
    return tuple(_gpu(*row[:3]) for row in rows), rows[0][3] if rows else None


def _gpu(name: str, memory: str, capability: str) -> Gpu:
    """Return the GPU of a row, whose cells may be `[N/A]`."""
    size = re.fullmatch(r"(\d+) MiB", memory)
    return Gpu(name, int(size[1]) << 20 if size else None, capability if re.fullmatch(r"\d+\.\d+", capability) else None)


def _toolkit(root: Path) -> str | None:
    try:
        return str(json.loads(_read(root / "usr/local/cuda/version.json"))["cuda"]["version"])
    except (ValueError, KeyError, TypeError):
        return None


def _power_mode(ask: Ask) -> str | None:
    mode = re.search(r"NV Power Mode:\s*(\S+)", ask(["nvpmodel", "-q"]) or "")
    return mode[1] if mode else None


def _system_tensorrt(root: Path) -> list[Path]:
    """Return the folders of TensorRT's bindings among the system's own Python packages."""
    try:
        return [path.parent for path in root.glob("usr/lib/python3*/dist-packages/tensorrt/__init__.py")]
    except OSError:
        return []


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
