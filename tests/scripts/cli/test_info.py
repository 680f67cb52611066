from __future__ import annotations

from pathlib import Path

from ...tiny import write_tiny
from ..conftest import Command, parsed


def test_export_then_info(command: Command, tmp_path: Path) -> None:
    checkpoint, path = write_tiny(tmp_path / "checkpoint", "dream"), tmp_path / "bundle"
    code, out, err = command("export", checkpoint, path, "--flavour", "portable", "--dtype", "float16", "--json")
    exported = parsed(out)
    assert code == 0
    assert (exported["family"], exported["stored"]) == ("dream", "float16")
    assert {graph["flavour"] for graph in exported["graphs"]} == {"portable"}
    assert "export" in err or "graphs" in err
    code, out, _ = command("info", path, "--verify", "--json")
    described = parsed(out)
    assert code == 0
    assert described["verified"] is True
    assert described["bytes"] == exported["bytes"] == sum(file["size"] for file in described["files"].values())
    code, out, _ = command("info", path)
    assert code == 0
    assert "dream" in out
    assert "step.portable.onnx" in out
