"""What can be wrong with a file: values that no field expects, missing and surplus ones, bytes lost, changed and added."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Path = tuple[str | int, ...]

# No JSON library writes these, but every one of them may be read.
RAW = {"<1e999>": "1e999", "<-1e999>": "-1e999", "<deep>": "[" * 3000 + "]" * 3000, "<digits>": "9" * 5000}
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 7, 255, 2**31, 2**63, 10**9, 10**18, 10**400, -(10**400)),
    *(0.5, -0.0, 1e-300, 1e308, math.nan, math.inf, -math.inf),
    *(
        "",
        "x",
        "float32",
        "step",
        "../x",
        "/etc/passwd",
        "a/b",
        "a\0b",
        "a\nb",
        "[/c]",
        "[red]",
        "\ud800",
        "é" * 300,
        "x" * 20_000,
    ),
    *([], {}, [[]], [None], {"a": {}}, {"": 0}, [1] * 500, ["x", 1], {"x": [1, {"y": None}]}),
    *RAW,
]


@st.composite
def damaged_json(draw: st.DrawFn, data: Any) -> Any:
    """Draw `data` with one to three of its values replaced, left out, doubled, exchanged or wrapped."""
    data = copy.deepcopy(data)
    for _ in range(draw(st.integers(1, 3))):
        paths = list(_paths(data))
        if not paths:
            return copy.deepcopy(draw(st.sampled_from(VALUES)))
        data = _damaged(draw, data, draw(st.sampled_from(paths)), paths)
    return data


def dumped(data: Any) -> bytes:
    """Return `data` as JSON, with the words of `RAW` spelt out."""
    text = json.dumps(data)
    for word, spelt in RAW.items():
        text = text.replace(json.dumps(word), spelt)
    return text.encode()


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Draw `content` with a part of it changed, lost, doubled or added, or something else altogether."""
    at = draw(st.integers(0, len(content)))
    length = draw(st.integers(0, 64))
    return draw(
        st.sampled_from(
            [
                content[:at],
                content[:at] + content[at + length :],
                content[:at] + content[at : at + length] * 2 + content[at + length :],
                content[:at] + bytes([255 - byte for byte in content[at : at + 1]]) + content[at + 1 :],
                content[:at] + draw(st.binary(max_size=16)) + content[at:],
                draw(st.binary(max_size=64)),
                b"[" * 20_000,
                b'{"a":' * 20_000,
            ]
        )
    )


def _paths(data: Any, before: Path = ()) -> Iterator[Path]:
    """Yield the path of every value inside."""
    inside = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in list(inside)[:40]:
        yield (*before, key)
        yield from _paths(value, (*before, key))


def _damaged(draw: st.DrawFn, data: Any, path: Path, paths: list[Path]) -> Any:
    *before, last = path
    parent = data
    for key in before:
        parent = parent[key]
    match draw(st.sampled_from(["replace", "replace", "replace", "leave out", "add", "exchange", "wrap", "number"])):
        case "replace":
            # A copy: what is drawn next may be put into it.
            parent[last] = copy.deepcopy(draw(st.sampled_from(VALUES)))
        case "leave out":
            del parent[last]
        case "add" if isinstance(parent, dict):
            parent[f"{last}2"] = copy.deepcopy(parent[last])
        case "add":
            parent.append(copy.deepcopy(parent[last]))
        case "exchange":
            parent[last] = copy.deepcopy(_at(data, draw(st.sampled_from(paths))))
        case "wrap":
            parent[last] = draw(st.sampled_from([[parent[last]], {"x": parent[last]}, str(parent[last])]))
        case "number":
            parent[last] = draw(st.integers(-5, 600) | st.floats())
    return data


def _at(data: Any, path: Path) -> Any:
    for key in path:
        data = data[key]
    return data
