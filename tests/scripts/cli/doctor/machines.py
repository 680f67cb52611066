"""What machines have said: files and answers of tools, for `hardware.probe`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

QUERY = "nvidia-smi --query-gpu=name,memory.total,compute_cap,driver_version --format=csv,noheader"


@dataclass(frozen=True)
class Machine:
    """`files` by path below the root, `answers` by command; every other command is missing."""

    files: dict[str, str] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)

    def write(self, root: Path) -> Path:
        for name, text in self.files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return root

    def ask(self, command: Sequence[str]) -> str | None:
        return self.answers.get(" ".join(command))


DESKTOP = Machine(
    files={
        "proc/driver/nvidia/version": (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder@U16)\n"
            "GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04)\n"
        ),
        "usr/local/cuda/version.json": '{"cuda": {"name": "CUDA SDK", "version": "13.0.2"}}',
    },
    answers={
        QUERY: "NVIDIA GeForce RTX 4090, 24564 MiB, 8.9, 580.95.05\n",
        "nvidia-smi": "| NVIDIA-SMI 580.95.05    Scheduler Version: 580.95.05    CUDA Version: 13.0     |\n",
    },
)
DATACENTER = Machine(
    files={
        "proc/driver/nvidia/version": (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.127.08  Wed Oct 16 01:55:29 UTC 2024\nGCC version: \n"
        )
    },
    answers={
        QUERY: "NVIDIA A100-SXM4-80GB, 81920 MiB, 8.0, 550.127.08\nNVIDIA A100-SXM4-80GB, 81920 MiB, 8.0, 550.127.08\n",
        "nvidia-smi": "| NVIDIA-SMI 550.127.08   Scheduler Version: 550.127.08   CUDA Version: 12.4     |\n",
    },
)
JETPACK_6 = Machine(
    files={
        "proc/device-tree/model": "NVIDIA Jetson Orin NX Engineering Reference Developer Kit\0",
        "etc/nv_tegra_release": (
            "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 2025\n"
            "# KERNEL_VARIANT: oot\n"
        ),
        "proc/driver/nvidia/version": (
            "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build  (buildbrain@mobile-u64)\n"
        ),
        "usr/local/cuda/version.json": '{"cuda": {"name": "CUDA SDK", "version": "12.6.68"}}',
        "usr/lib/python3.10/dist-packages/tensorrt/__init__.py": "",
    },
    answers={
        QUERY: "Orin (nvgpu), [N/A], [N/A], [N/A]\n",
        "nvidia-smi": "| NVIDIA-SMI 540.4.0     Scheduler Version: 540.4.0      CUDA Version: 12.6     |\n",
        "nvpmodel -q": "NV Power Mode: MAXN_SUPER\n2\n",
    },
)
JETPACK_7 = Machine(
    files={
        "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
        "etc/nv_tegra_release": "# R39 (release), REVISION: 2.0, GCID: 44192931, BOARD: generic, EABI: aarch64, DATE: Mon\n",
        "usr/lib/python3.12/dist-packages/tensorrt/__init__.py": "",
    },
    answers={"nvpmodel -q": "NVPM WARN: fan mode is not set\nNV Power Mode: MODE_30W\n2\n"},
)
BARE = Machine()
WITHOUT_DRIVER = Machine(
    files={
        "sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
        "sys/bus/pci/devices/0000:01:00.0/class": "0x030000\n",
        # Its sound device, and another vendor's display device.
        "sys/bus/pci/devices/0000:01:00.1/vendor": "0x10de\n",
        "sys/bus/pci/devices/0000:01:00.1/class": "0x040300\n",
        "sys/bus/pci/devices/0000:00:02.0/vendor": "0x8086\n",
        "sys/bus/pci/devices/0000:00:02.0/class": "0x030000\n",
    }
)
