from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.onnxruntime.cpu import OnnxRuntimeEngine

from ..exported_once import exported_once, shared_folder
from .checkpoints import write_checkpoint
from .comparison import Published


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Published]:
    """`published(checkpoint)`: a bundle of the checkpoint of that name in float32, exported once a run, on the CPU engine."""
    opened: dict[str, Published] = {}

    def open_bundle(checkpoint: str) -> Published:
        if checkpoint not in opened:
            place = shared_folder(tmp_path_factory) / f"published-{checkpoint}"
            bundle = Bundle.open(exported_once(place, partial(write_checkpoint, checkpoint)))
            opened[checkpoint] = Published(bundle, OnnxRuntimeEngine(bundle, threads=1))
        return opened[checkpoint]

    return open_bundle
