"""A bundle's weights in one line."""

from __future__ import annotations

from ....runtime.bundle.manifest import Manifest


def weights_line(manifest: Manifest) -> str:
    """Return what weights are stored as and computed in."""
    formats = manifest.weights
    computed = f"{manifest.stored}, computed in {manifest.compute}"
    if not formats.quantised:
        return computed
    parts = {"linear layers": formats.linear, "LM head": formats.head, "embedding": formats.embedding}
    quantised = ", ".join(f"{part} {stored}" for part, stored in parts.items() if stored.quantised)
    return f"{quantised}; the rest {computed}"
