"""What the parts of the benchmark measure: a bundle, and one of SmolLM2-135M's shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from ...export.bundle import export_bundle
from ...runtime.bundle.bundle import Bundle
from ...runtime.generate import Model, load
from ..checkpoints.random_llada import SCALES, write_random_llada
from .finding import Part


@dataclass
class Setup:
    """`paired` problems for speeds, `problems` for accuracy; `export_scale` is a key of `random_llada.SCALES`."""

    bundle: Path
    threads: int
    paired: int
    problems: int
    export_scale: str
    folder: TemporaryDirectory[str] = field(default_factory=lambda: TemporaryDirectory(prefix="dllm-edge-bench-"))

    @cached_property
    def model(self) -> Model:
        return load(self.bundle, threads=self.threads)

    @cached_property
    def shaped_checkpoint(self) -> Path:
        checkpoint = Path(self.folder.name) / "checkpoint"
        write_random_llada(checkpoint, SCALES["135m"])
        return checkpoint

    @cached_property
    def shaped(self) -> Bundle:
        """Random weights: 30 layers, hidden 576, 9 heads over 3 of keys, feed-forward 1536, 49,152 ids, in float32."""
        return export_bundle(self.shaped_checkpoint, Path(self.folder.name) / "bundle", dtype="float32")


Progress = Callable[[float], None]
"""Takes the share of a part that is done, 0 to 1."""

Measure = Callable[[Setup, Progress], Part]


def within(progress: Progress, index: int, count: int) -> Progress:
    """Return the progress of the one of `count` equal stretches of a part that begins after `index` of them."""
    return lambda share: progress((index + share) / count)
