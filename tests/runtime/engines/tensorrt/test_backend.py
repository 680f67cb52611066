from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest.mock import create_autospec

import pytest

from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.open import open_engine
from dllm_edge.runtime.engines.tensorrt import open as opening


@pytest.mark.parametrize(("name", "runtime"), [("tensorrt", None), ("tensorrt-rtx", "tensorrt-rtx")])
def test_the_name_of_either_is_no_choice(
    handed_down: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, name: str, runtime: str | None
) -> None:
    bundle = Bundle.open(handed_down("llada"))
    opened = create_autospec(opening.open_tensorrt)
    monkeypatch.setattr(opening, "open_tensorrt", opened)
    assert open_engine(bundle, name, compute_dtype="float16") is opened.return_value
    opened.assert_called_once_with(bundle, runtime, "float16")
