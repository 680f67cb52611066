"""Objects in JSON that a bundle brings, as strict as the format: no NaN, no infinity, no number beyond a float's range."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from .regular_file import read_small


def read_strict(file: Path) -> dict[str, Any]:
    """Return the JSON object in a file; raises `OSError` where it cannot be read, `ValueError` where it holds none."""
    try:
        data = json.loads(read_small(file).decode("utf-8"), parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"it is not valid JSON ({error})") from error
    if not isinstance(data, dict):
        raise ValueError("it is no JSON object")
    return data


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number
