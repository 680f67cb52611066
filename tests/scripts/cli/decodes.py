"""Options of a short decode, and the fields of what an evaluation reports."""

from __future__ import annotations

SHORT = ("--gen-length", "16")
BLOCKS = ("--set", "block_length=8")
FIELDS = {
    *("system", "settings", "task", "samples", "accuracy", "generated_tokens", "forwards", "refresh_forwards"),
    *("tokens_per_forward", "seconds", "tokens_per_second", "engine_seconds", "host_seconds"),
    *("peak_cache_bytes", "steady_cache_bytes"),
}
