"""Which GPUs an engine is built for."""

from __future__ import annotations

from collections.abc import Sequence

from ...graphs.errors import DllmEdgeError
from ...runtime.engines.tensorrt.library import TITLES, Library


def choose_targets(library: Library, wanted: Sequence[str], present: str | None) -> tuple[str, ...]:
    """The compute capabilities to build for, in order: those `wanted`, or that of the GPU that is `present`."""
    if library.names_targets:
        return _named(library, list(dict.fromkeys(wanted)) or _of(library, present))
    here = _of(library, present)
    if set(wanted) - set(here):
        raise DllmEdgeError(
            f"{TITLES[library.name]} builds for the GPU that is present ({here[0]}), not for {', '.join(wanted)}: "
            "build on a machine that has it, without --target"
        )
    return tuple(here)


def _of(library: Library, present: str | None) -> list[str]:
    if present is not None:
        return [present]
    remedy = "name one with --target, as in --target sm86" if library.names_targets else "build on the machine that will run it"
    title = TITLES[library.name]
    raise DllmEdgeError(
        f"{title} builds for a GPU, and this machine shows none: {remedy} ('dllm-edge doctor' says what is missing)"
    )


def _named(library: Library, targets: list[str]) -> tuple[str, ...]:
    known = library.known_targets()
    for target in targets:
        if target not in known:
            raise DllmEdgeError(f"{library.title} does not build for '{target}': choose of {', '.join(known)}")
    return tuple(sorted(targets, key=known.index))
