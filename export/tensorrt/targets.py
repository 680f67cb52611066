"""Which GPUs an engine is built for."""

from __future__ import annotations

from collections.abc import Sequence

from ...graphs.errors import DllmEdgeError
from ...runtime.engines.support import row_of
from ...runtime.engines.tensorrt.library import TITLES, Library


def choose_targets(library: Library, requested: Sequence[str], present: str | None) -> tuple[str, ...]:
    """Return the compute capabilities to build for, in order: those `requested`, or that of the GPU that is `present`.

    Raises `DllmEdgeError` where the library does not build for them, or there is neither.
    """
    if library.names_targets:
        return _known_targets(library, list(dict.fromkeys(requested)) or [_present_target(library, present)])
    here = _present_target(library, present)
    if set(requested) - {here}:
        raise DllmEdgeError(
            f"{TITLES[library.name]} builds for the GPU that is present ({here}), not for {', '.join(requested)}: "
            "build on a machine that has it, without --target"
        )
    return (here,)


def _present_target(library: Library, present: str | None) -> str:
    """Return `present`; raises `DllmEdgeError` where there is no GPU."""
    if present is not None:
        return present
    remedy = "name one with --target, as in --target sm86" if library.names_targets else "build on the machine that will run it"
    title = TITLES[library.name]
    raise DllmEdgeError(
        f"{title} builds for a GPU, and this machine shows none: {remedy} ('dllm-edge doctor' says what is missing)"
    )


def _known_targets(library: Library, targets: list[str]) -> tuple[str, ...]:
    """Return `targets` in the library's order; raises `DllmEdgeError` for one that it does not know."""
    known = library.known_targets()
    for target in targets:
        if target not in known:
            others = row_of(library.name, library.release).others
            raise DllmEdgeError(
                f"{library.title} does not build for '{target}': choose of {', '.join(known)}; for others use {others.instead}"
            )
    return tuple(sorted(targets, key=known.index))
