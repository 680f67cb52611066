"""Every system's tokens, forwards and traces on the demo and on tiny models, to be compared before and after a change.

    .venv/bin/python -m tests.recording FILE              record
    .venv/bin/python -m tests.recording FILE --compare    record again, and say where it differs

It compares on one machine: another processor may round a near tie the other way.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dllm_edge
from dllm_edge import load
from dllm_edge.export.bundle import export_bundle

from .runtime.conftest import write_lively

QUESTIONS = (
    "Tom has 23 apples. Tom buys 12 more. How many apples does Tom have?",
    "Anna has 88 coins. Anna loses 14. Anna finds 3 more. How many coins does Anna have?",
    "Leo has 5 keys. A friend gives Leo 20 more. Leo drops 7. Leo sells 9. How many keys does Leo have?",
)
PROMPTS = ([5, 17, 33, 60, 12], [101, 7, 55, 203, 90, 14, 33, 2, 71], list(range(40, 63)))
SYSTEMS = ("vanilla", "fast-dllm-prefix", "fast-dllm-dual", "sparse-dllm", "streaming-dllm", "ssd", "lopa", "d3llm")
RULES: tuple[dict[str, Any], ...] = (
    {"unmask": "quota"},
    {"unmask": "quota", "steps": 16, "confidence": "topk_margin"},
    {"unmask": "quota", "confidence": "entropy"},
    {"unmask": "quota", "confidence": "random"},
    {"unmask": "schedule"},
    {"unmask": "threshold", "threshold": 0.3},
    {"unmask": "threshold", "threshold": 0.9, "temperature": 0.7},
    {"unmask": "dynamic-threshold", "threshold": 0.5, "confidence_alpha": 0.6},
    {"unmask": "factor", "factor": 2.0},
    {"unmask": "factor", "factor": 1.0, "reference_compat": True},
    {"unmask": "frechet", "frechet_margin": -0.5},
    {"unmask": "entropy-bound", "entropy_bound": 2.0},
    {"unmask": "hierarchical", "low_threshold": 0.1, "remask_threshold": 0.1},
    {"unmask": "local-leap", "threshold": 0.5, "leap_threshold": 0.3},
    {"unmask": "klass", "threshold": 0.2, "kl_threshold": 0.2},
    {"unmask": "credit", "threshold": 0.5},
    {"unmask": "entropy-threshold", "entropy_threshold": 1.0},
    {"unmask": "saber"},
    {"unmask": "saber", "reference_compat": True},
    {"unmask": "conv", "steps": 16, "conv_window": 8, "conv_mult": 0.1},
    {"unmask": "conv", "steps": 16, "conv_top_k": 5},
    {"unmask": "wino", "threshold": 0.3},
    {"unmask": "token-editing", "threshold": 0.3, "edit_threshold": 0.1},
)
OWN: dict[str, tuple[dict[str, Any], ...]] = {
    "fast-dllm-prefix": ({"refresh": 3},),
    "fast-dllm-dual": ({"refresh": 2}, {"max_steps": 5}),
    "sparse-dllm": (
        {"retention": 0.25, "kernel": 5},
        {"delay": 2, "unmask": "threshold", "threshold": 0.3},
        {"retention": 0.0},
    ),
    "streaming-dllm": (
        {"window": 4},
        {"window": 4, "trailing": 3, "mask_ratio": "block", "stop_at": "block", "early_stop": True},
        {"window": 4, "retention": 0.5},
    ),
}
ROUNDING = 1e-3
TRACED = ("forward", "kind", "positions", "input_ids", "predicts", "best_ids", "committed")
LENGTHS = {"gen_length": 32, "block_length": 16, "early_stop": False}


def runs(systems: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    for system in systems:
        for rule in (*RULES, *OWN.get(system, ())):
            yield system, {**LENGTHS, "confidence": "maskgit_plus", **rule}
        yield system, {**LENGTHS, "block_length": 0, "unmask": "quota", "early_stop": True}


def record_all(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    demo = Path(dllm_edge.__file__).parent / "demo" / "checkpoint"
    export_bundle(demo, folder / "demo", flavour="fused")
    found |= record("demo", folder / "demo", list(QUESTIONS), SYSTEMS)
    for family, systems in (("llada", SYSTEMS), ("dream", SYSTEMS), ("fast-dllm-v2", SYSTEMS[:1]), ("sdar", SYSTEMS[:1])):
        write_lively(folder / f"{family}.checkpoint", family)
        export_bundle(folder / f"{family}.checkpoint", folder / family, flavour="fused", dtype="float32")
        found |= record(family, folder / family, list(PROMPTS), systems)
    return found


def record(name: str, bundle: Path, prompts: list[Any], systems: tuple[str, ...]) -> dict[str, Any]:
    model, found = load(bundle, threads=1), {}
    for system, settings in runs(systems):
        label = f"{name}, {system}, {json.dumps(settings, sort_keys=True)}"
        alone = [model.generate(prompt, system=system, seed=3, trace=True, **settings) for prompt in prompts]
        together = model.generate_batch(prompts, system=system, seed=3, trace=True, max_batch=2, **settings)
        found[f"{label}, alone"] = [describe(each) for each in alone]
        found[f"{label}, batch"] = [describe(each) for each in together]
    mask = model.config.mask_token_id or 0
    holes = [7, mask, mask, 9, 30, mask, 12, mask, mask, 40]
    found[f"{name}, infill"] = [describe(model.infill(holes, system=system)) for system in systems]
    return found


def describe(result: Any) -> dict[str, Any]:
    """Tokens and counts in clear; of the trace a hash of all that is whole numbers, and the sum of its confidences.

    With whom a sequence shared its steps is left out: that is the scheduler's to choose.
    """
    steps = [{name: value for name, value in step.to_json().items() if name in TRACED} for step in result.trace]
    confidences = [value for step in steps for commit in step["committed"] for value in commit.pop("confidences")]
    return {
        "token_ids": result.token_ids,
        "canvas": result.canvas,
        "finish_reason": result.finish_reason,
        "forwards": result.forwards,
        "refresh_forwards": result.refresh_forwards,
        "steady_cache_bytes": result.steady_cache_bytes,
        "peak_cache_bytes": result.peak_cache_bytes,
        "trace": hashlib.sha256(json.dumps(steps, sort_keys=True).encode()).hexdigest(),
        "confidence": sum(confidences),
    }


def differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for label in before.keys() | after.keys():
        old, new = before.get(label, []), after.get(label, [])
        if len(old) != len(new):
            yield f"{label}: {len(old)} decodes, now {len(new)}"
        for index, (one, two) in enumerate(zip(old, new, strict=False)):
            different = [key for key in one if not kept(key, one[key], two[key])]
            if different:
                yield f"{label}, decode {index}: {', '.join(f'{key} {one[key]} now {two[key]}' for key in different)}"


def kept(key: str, old: Any, new: Any) -> bool:
    """Whether a value is as before: sums of confidences but for rounding, and caches no larger."""
    if key.endswith("_bytes"):
        return bool(new <= old)
    return abs(old - new) < ROUNDING if key == "confidence" else bool(old == new)


def main() -> int:
    parser = argparse.ArgumentParser(description="record every system's decodes, or compare them with a recording")
    parser.add_argument("file", type=Path)
    parser.add_argument("--compare", action="store_true")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        found = record_all(Path(folder))
    decodes = sum(map(len, found.values()))
    if not given.compare:
        given.file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"{given.file}: {decodes} decodes recorded")
        return 0
    lines = sorted(differences(json.loads(given.file.read_text(encoding="utf-8")), found))
    print("\n".join(lines[:40]) if lines else f"{decodes} decodes: tokens, forwards and traces are equal, caches no larger")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
