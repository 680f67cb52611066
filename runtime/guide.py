"""The guide: a causal model beside the decoded one, which judges what that drafts (FlashDLM, Hu et al. 2025, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..graphs.errors import DllmEdgeError
from .bundle.bundle import Bundle
from .bundle.tokenizer import BundleTokenizer
from .decoding.token_map import TokenMap
from .engines.base import Engine
from .engines.open import open_engine
from .token_maps import map_tokens


@dataclass(frozen=True, eq=False)
class Guide:
    """A bundle of a causal model on an engine."""

    bundle: Bundle
    engine: Engine

    def tokens_for(self, decoded: BundleTokenizer) -> TokenMap:
        """Return what the guide has for the tokens of the decoded model; raises `DllmEdgeError` where that is too few."""
        return map_tokens(decoded, BundleTokenizer(self.bundle.path, self.bundle.config, templated=False))


def open_guide(folder: Path, engine: str, device: str, threads: int, compute: str | None) -> Guide:
    """Open a bundle as a guide; raises `DllmEdgeError` for a model that is not causal, and for engines that are built.

    A build has the forwards of one bundle's own decodes, and a guide decodes nothing by itself.
    """
    if engine != "onnxruntime":
        raise DllmEdgeError(f"a guide does not run on {engine}: use the engine onnxruntime, on cpu or cuda")
    bundle = Bundle.open(folder)
    if bundle.config.attention != "causal":
        raise DllmEdgeError(f"{folder}: a guide is a causal model (Llama's family); this one is {bundle.config.attention}")
    return Guide(bundle, open_engine(bundle, engine, device, threads, compute))


def check_guide(guide: Guide | None, system: str, length: int) -> None:
    """Raise `DllmEdgeError` unless a guide is there for a canvas of `length` tokens."""
    if guide is None:
        raise DllmEdgeError(f"{system} needs a guide: give one with --guide BUNDLE (load(..., guide=BUNDLE))")
    if length > guide.bundle.config.max_positions:
        raise DllmEdgeError(
            f"the guide has {guide.bundle.config.max_positions} positions, prompt and generation take {length}: "
            "shorten the prompt, lower gen_length, or use another guide"
        )
