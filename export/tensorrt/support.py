"""Whether the library takes what is to be compiled, by the table of engines, before hours are spent on it."""

from __future__ import annotations

from ...graphs.errors import DllmEdgeError
from ...runtime.engines.support import Use, findings, version_of
from .compilation import Compilation
from .options import flavours_to_build


def untried(compilation: Compilation) -> list[str]:
    """Return what nobody knows to work, a line each; raises `DllmEdgeError` for what the library is known not to take."""
    found = {str(finding): finding for target in compilation.targets for finding in findings(_use(compilation, target))}
    for finding in found.values():
        if finding.known.level == "refused":
            raise DllmEdgeError(f"{compilation.bundle.path}: {finding}, in another export")
    return list(found)


def _use(compilation: Compilation, target: str) -> Use:
    bundle, options, library = compilation.bundle, compilation.options, compilation.library
    compute = options.compute or bundle.manifest.compute
    step = bundle.graph(flavours_to_build(library, options), compute)
    return Use(library.name, library.release, version_of(target), step.flavour, step.compute, bundle.manifest.weights)
