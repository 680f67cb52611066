"""Reading JSON files that users bring."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..graphs.errors import DllmEdgeError
from ..runtime.bundle.regular_file import read_small


def read_object(file: Path) -> dict[str, Any]:
    """Return the JSON object in `file`; raises `DllmEdgeError` where it is missing, unreadable, malformed or no object."""
    try:
        data = json.loads(read_small(file).decode("utf-8"))
    except FileNotFoundError as error:
        raise DllmEdgeError(f"{file.parent}: there is no {file.name}: give a whole Hugging Face folder") from error
    except OSError as error:
        raise DllmEdgeError(f"{file}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise DllmEdgeError(f"{file}: not valid JSON ({error}): download it again") from error
    if not isinstance(data, dict):
        raise DllmEdgeError(f"{file}: holds a JSON {type(data).__name__}, not an object: download it again")
    return data
