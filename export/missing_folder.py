"""The error for a model's folder that is not there, which says how to get it where the words look like a name on the hub."""

from __future__ import annotations

import re
from pathlib import Path

from ..graphs.errors import DllmEdgeError

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def missing_folder(folder: Path, instead: str) -> DllmEdgeError:
    """Return an error that says what to give `instead`; of a hub's name, `OWNER/MODEL`, how it is downloaded."""
    if HUB_NAME.fullmatch(str(folder)) is None or folder.parent.exists():
        return DllmEdgeError(f"{folder}: there is no such folder: {instead}")
    return DllmEdgeError(
        f"{folder}: there is no such folder; if it is a model on Hugging Face, download it with "
        f"'hf download {folder} --local-dir {folder.name}' (pip install huggingface_hub), then give {folder.name}"
    )
