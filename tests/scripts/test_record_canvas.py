from __future__ import annotations

from pathlib import Path

import pytest

from dllm_edge.scripts import record_canvas


@pytest.mark.usefixtures("demo_checkpoint")
def test_a_frame_for_each_forward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"gen_length": 16, "unmask": "quota", "steps": 8, "early_stop": False}
    monkeypatch.setattr(record_canvas, "SETTINGS", settings)
    record_canvas.record(tmp_path / "canvas.svg")
    picture = (tmp_path / "canvas.svg").read_text()
    assert "dllm-edge" in picture
    assert picture.count("cells/forward") == settings["steps"]
