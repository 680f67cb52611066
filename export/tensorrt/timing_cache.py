"""The timing cache, kept beside the plans: what was measured once is not measured again, also after a build that failed."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile
from typing import Any

from ...runtime.engines.tensorrt.library import Library

TIMING_CACHE = "timing.cache"


def timings_beside(place: Path) -> Path:
    """The file that builds of the engine at `place` read and write; one that fails leaves it to the next."""
    return place.with_name(f".{place.name}.{TIMING_CACHE}")


def begin_timings(file: Path, place: Path) -> None:
    """Where no build has left `file`, begin it with what the engine at `place` has."""
    if not file.is_file() and (place / TIMING_CACHE).is_file():
        copyfile(place / TIMING_CACHE, file)


def load_timings(library: Library, config: Any, file: Path) -> None:
    """Give `config` the cache in `file`, or an empty one where there is none that is of this version and GPU."""
    if not library.keeps_timings:
        return
    content = file.read_bytes() if file.is_file() else b""
    found = config.create_timing_cache(content)
    if found is None or not config.set_timing_cache(found, ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    library.logger.messages.clear()


def save_timings(library: Library, config: Any, file: Path) -> None:
    """Replace `file`, whole even where the process is killed."""
    if library.keeps_timings:
        partial = file.with_name(f"{file.name}.partial")
        partial.write_bytes(config.get_timing_cache().serialize())
        partial.replace(file)
