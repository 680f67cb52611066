"""The timing cache, kept beside the engine files: what was timed once is not timed again, also after a build that failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...graphs.whole_file import write_whole
from ...runtime.engines.tensorrt.buffers import own_bytes
from ...runtime.engines.tensorrt.library import Library

TIMING_CACHE = "timing.cache"


def timing_file_of(engine: Path) -> Path:
    """Return the file that builds of the engine at this path read and write; one that fails leaves it to the next."""
    return engine.with_name(f".{engine.name}.{TIMING_CACHE}")


def seed_timings(timing_file: Path, engine: Path) -> None:
    """Where no build has left `timing_file`, begin it with what the engine at this path has."""
    if not timing_file.is_file() and (engine / TIMING_CACHE).is_file():
        write_whole(timing_file, (engine / TIMING_CACHE).read_bytes())


def load_timings(library: Library, config: Any, timing_file: Path) -> None:
    """Give `config` the cache in `timing_file`, or an empty one where there is none that is of this version and GPU."""
    if not library.keeps_timings:
        return
    for content in (own_bytes(timing_file), bytearray()):
        cache = library.call(config.create_timing_cache, content)
        if cache is not None and library.call(config.set_timing_cache, cache, ignore_mismatch=False):
            return


def save_timings(library: Library, config: Any, timing_file: Path) -> None:
    """Replace `timing_file`, whole even where the process is killed."""
    if library.keeps_timings:
        write_whole(timing_file, memoryview(config.get_timing_cache().serialize()))
