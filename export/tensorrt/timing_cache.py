"""The timing cache, kept beside the engine files: what was timed once is not timed again, also after a build that failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...graphs.whole_file import write_whole
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
    content = timing_file.read_bytes() if timing_file.is_file() else b""
    cache = config.create_timing_cache(content)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    library.logger.messages.clear()


def save_timings(library: Library, config: Any, timing_file: Path) -> None:
    """Replace `timing_file`, whole even where the process is killed."""
    if library.keeps_timings:
        write_whole(timing_file, memoryview(config.get_timing_cache().serialize()))
