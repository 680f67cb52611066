"""Parity level 2 of an engine: the same inputs and caches through it and through ONNX Runtime on a CPU in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ....graphs import contract
from ....graphs.contract import Profile
from ....graphs.dtypes import DTYPES
from ....runtime.arrays import Array
from ....runtime.bundle.bundle import Bundle
from ....runtime.engines.host import FIRST_CACHE
from ....runtime.engines.onnxruntime.cpu import OnnxRuntimeEngine
from ..differences import TOLERANCES, first_bad, scale_of
from ..examples import SEED, example
from ..report import Level, finite
from .runners import polygraphy, session_runner
from .subject import Subject

# Equal logits may come in another order; `topk_logits` holds their values.
NOT_COMPARED = "topk_ids"


def check_layers(bundle: Bundle, subject: Subject, reference: OnnxRuntimeEngine, tell: Callable[[float], None]) -> Level:
    """At each of the engine's profiles: keys and values of every layer, and the head's outputs."""
    allowed = TOLERANCES[subject.compute]
    level = Level("layers", True, [], {"tolerance": allowed, "profiles": []})
    with polygraphy() as comparator:
        for index, profile in enumerate(subject.profiles):
            tell(index / len(subject.profiles))
            runners = [session_runner(reference.session, bundle, "float32"), subject.runner(profile)]
            differences = compare(comparator, runners, feed(bundle, subject, profile), allowed)
            _add(level, profile, differences, allowed)
    return level


def feed(bundle: Bundle, subject: Subject, profile: Profile) -> dict[str, Array]:
    """Random inputs, the caches rounded as the engine holds them, so that their rounding does not count."""
    specs = contract.inputs(bundle.config, "float32")
    arrays = example(specs, profile, bundle.config.vocab_size, np.random.default_rng(SEED))
    kind = DTYPES[subject.compute].numpy
    caches = [array.astype(kind).astype(np.float32) for array in arrays[FIRST_CACHE:]]
    return {spec.name: array for spec, array in zip(specs, arrays[:FIRST_CACHE] + caches, strict=True)}


def compare(comparator: Any, runners: list[Any], inputs: dict[str, Array], allowed: float) -> dict[str, float]:
    """Each output's largest difference from what the first runner gives, as a share of that one's largest magnitude."""
    found = comparator.Comparator.run(runners, data_loader=[inputs])
    scales = {name: scale_of(np.asarray(wanted)) for name, wanted in found[0][1][0].items() if name != NOT_COMPARED}
    judge = comparator.SimpleCompareFunc(
        atol={name: allowed * scale for name, scale in scales.items()},
        rtol=0,
        check_error_stat="max",
        find_output_func=lambda name, _index, _result: [name] if name in scales else None,
    )
    ((outputs,),) = comparator.Comparator.compare_accuracy(found, compare_func=judge)[0].values()
    assert set(outputs) == set(scales), set(scales) - set(outputs)
    return {name: _share(one.max_absdiff, scales[name]) for name, one in outputs.items()}


def _share(difference: float, scale: float) -> float:
    return difference / scale if np.isfinite(difference) else np.inf


def _add(level: Level, profile: Profile, differences: dict[str, float], allowed: float) -> None:
    bad, worst = first_bad(differences, allowed), max(differences, key=lambda name: differences[name])
    level.passed &= bad is None
    sizes = f"{profile.batch} x {profile.queries} tokens over {profile.capacity} slots, {profile.rows} logit rows"
    verdict = f"{sizes}: largest difference {differences[worst]:.1e} at {worst} (allowed {allowed:.1e})"
    level.lines.append(verdict + (f"; first bad output {bad}" if bad else ""))
    level.data["profiles"].append(
        {"profile": vars(profile), "worst": worst, "difference": finite(differences[worst]), "first_bad": bad}
    )
