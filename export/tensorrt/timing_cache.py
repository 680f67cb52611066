"""The timing cache, kept beside the plans: what was measured once is not measured again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...runtime.engines.tensorrt_library import Library

TIMING_CACHE = "timing.cache"


def load_timings(library: Library, config: Any, file: Path) -> None:
    """Give `config` the cache in `file`, or an empty one where there is none that is of this version and GPU."""
    if not library.keeps_timings:
        return
    content = file.read_bytes() if file.is_file() else b""
    if not config.set_timing_cache(config.create_timing_cache(content), ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    library.logger.messages.clear()


def save_timings(library: Library, config: Any, file: Path) -> None:
    if library.keeps_timings:
        file.write_bytes(config.get_timing_cache().serialize())
