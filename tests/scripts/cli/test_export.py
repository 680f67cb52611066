from __future__ import annotations

from pathlib import Path

from ...tiny import write_tiny
from ..conftest import Command


def test_export_needs_overwrite(command: Command, tmp_path: Path) -> None:
    checkpoint, path = write_tiny(tmp_path / "checkpoint", "llada"), tmp_path / "bundle"
    assert command("export", checkpoint, path, "--flavour", "fused")[0] == 0
    code, out, err = command("export", checkpoint, path, "--flavour", "fused")
    assert (code, out) == (2, "")
    assert "already holds a bundle" in err
    assert command("export", checkpoint, path, "--flavour", "fused", "--overwrite")[0] == 0
