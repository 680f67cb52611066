"""What a build says before it begins: the sizes that it is for, and an estimate of its time and memory."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from ....export.tensorrt.compilation import Compilation
from ....export.tensorrt.memory import estimated_build_bytes
from ....runtime.bundle.bundle import WEIGHTS, Bundle
from ....runtime.engines.profiles import Workload
from ....runtime.engines.tensorrt.library import Library
from ..terminal.output import counted, log, screen, size

# Seconds of a TensorRT-RTX build on 2 CPU cores: for each profile of each layer, and for a GB of weights.
PER_LAYER, PER_GB = 0.1, 9.5


def announce(compilation: Compilation, workload: Workload, notes: Sequence[str], as_json: bool) -> None:
    """Print what will be built, before it takes its time, and what is not known of it; beside JSON one line on stderr."""
    library, targets = compilation.library, compilation.targets
    for note in notes:
        log().print(f"warning: {note}", soft_wrap=True, highlight=False)
    line = estimate_line(compilation.bundle, library, workload, len(targets))
    if as_json:
        log().print(line, soft_wrap=True, highlight=False)
        return
    console = screen()
    console.print(_profile_table(f"{library.title} for {', '.join(targets)}", workload))
    console.print(line, soft_wrap=True, highlight=False)


def estimate_line(bundle: Bundle, library: Library, workload: Workload, targets: int) -> str:
    """Return the number of profiles, and the time and memory that their build may take."""
    count, seconds = len(workload.profiles), estimated_seconds(bundle, workload, targets)
    least = "" if library.name == "tensorrt-rtx" else "at least "
    memory = size(estimated_build_bytes(bundle))
    return f"{counted(count, 'profile')}; estimate: {least}{duration(seconds)} (on 2 cores), {memory} of memory"


def estimated_seconds(bundle: Bundle, workload: Workload, targets: int) -> float:
    """Return a rough guess, from builds by TensorRT-RTX; TensorRT times kernels on the GPU and takes longer."""
    weights = sum(record.size for name, record in bundle.manifest.files.items() if name.startswith(WEIGHTS)) / 1e9
    return targets * PER_LAYER * bundle.config.layers * len(workload.profiles) + PER_GB * weights


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} minutes"


def _profile_table(title: str, workload: Workload) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for column in ("batch", "queries", "capacity", "logit rows"):
        table.add_column(column, justify="right")
    for profile in workload.profiles:
        table.add_row(*map(str, (profile.batch, profile.queries, profile.capacity, profile.rows)))
    return table
