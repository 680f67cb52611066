from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from . import checkpoints
from .comparison import Published


@pytest.mark.parametrize("name", checkpoints.CHECKPOINTS)
def test_other_weights_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash of the right ones is checked wherever a case is run."""
    monkeypatch.setattr(checkpoints, "SEED", 1)
    with pytest.raises(ValueError, match=f"{name}: the weights' sha256 is"):
        checkpoints.write_checkpoint(name, tmp_path)


@pytest.mark.parametrize("name", checkpoints.CHECKPOINTS)
def test_each_is_exported_with_its_mask_forbidden(name: str, published: Callable[[str], Published]) -> None:
    bundle = published(name).bundle
    assert bundle.config.vocab_size == checkpoints.VOCABULARY
    assert bundle.manifest.forbidden == (checkpoints.MASK,)
    assert published(name) is published(name)
