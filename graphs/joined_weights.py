"""Weights of the same input that a bundle stores as one, row after row, so that one product serves all of them."""

from __future__ import annotations

from collections.abc import Mapping

from .parameters import Shapes

JOINED = {"query_key_value": ("query", "key", "value"), "gate_up": ("gate", "up")}
"""The modules of a layer that are joined, in the order of their rows, by the name that they have together."""

_TOGETHER = {module: together for together, modules in JOINED.items() for module in modules}


def stored_weights(shapes: Mapping[str, tuple[int, ...]], joined: bool) -> dict[str, Shapes]:
    """Return the weights that each stored one is made of, their shapes by their canonical names, in the order of their rows.

    `shapes` are those of a model's weights. Stored weights are called as canonical ones are: `layers.0.gate_up.weight`.
    """
    stored: dict[str, Shapes] = {}
    for name in shapes:
        together, members = _joined(name) if joined else (name, [name])
        stored[together] = {member: shapes[member] for member in members}
    return stored


def whole_shape(members: Shapes) -> tuple[int, ...]:
    """Return the shape of a stored weight that is made of `members`."""
    first, *_ = members.values()
    return (sum(shape[0] for shape in members.values()), *first[1:])


def _joined(name: str) -> tuple[str, list[str]]:
    """Return the name of the stored weight that has the weight `name`, and the names of its members."""
    *layer, module, parameter = name.split(".")
    together = _TOGETHER.get(module, module)
    names = [".".join([*layer, each, parameter]) for each in (together, *JOINED.get(together, (module,)))]
    return names[0], names[1:]
