from __future__ import annotations

from pathlib import Path

import pytest

from .permissions import permissions_hold


def test_what_may_not_be_written_is_not_written_by_root_either(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "file").chmod(0o444)
    tmp_path.chmod(0o555)
    with permissions_hold():
        for path in (tmp_path / "file", tmp_path / "new"):
            with pytest.raises(PermissionError):
                path.write_text("other")
        assert (tmp_path / "file").read_text() == "mine"
    tmp_path.chmod(0o755)
    (tmp_path / "new").write_text("other")
