"""Validation of a bundle: the four levels in order, and the report that is kept with it."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ...demo.evaluate import evaluate, find_task
from ...demo.intervals import paired_difference
from ...graphs.errors import DllmEdgeError
from ...runtime.bundle import Bundle
from ...runtime.engines.onnxruntime import OnnxRuntimeEngine
from ...runtime.generate import Model
from ...runtime.settings import Settings
from ...runtime.systems import SYSTEMS
from ..checkpoint import Checkpoint
from ..structure import check_structure
from ..torch_engine import TorchEngine
from .layers import check_layers
from .reference import reference_step
from .report import LEVELS, Level, LevelName, Report
from .trajectory import check_trajectories

REPORT = Path("reports") / "validate.json"
VERSIONS = ("dllm-edge", "torch", "onnxruntime", "numpy")
TRAJECTORY_PROMPTS = 3
TRAJECTORY_LENGTH = 32
# What a whole decode is compared with: every system, and every kind of rule once.
TRAJECTORIES = (
    ("vanilla", "quota"),
    ("vanilla", "factor"),
    ("fast-dllm-prefix", "threshold"),
    ("fast-dllm-dual", "threshold"),
    ("sparse-dllm", "quota"),
    ("sparse-dllm", "threshold"),
)
TASK_SYSTEM = "fast-dllm-dual"
TASK_SAMPLES = 40

Progress = Callable[[str, float], None]


def validate(
    bundle_path: Path,
    checkpoint: Path | None = None,
    level: str | None = None,
    progress: Progress | None = None,
    samples: int = TASK_SAMPLES,
) -> Report:
    """Check a bundle against torch in float32 and write what was found to its `reports/validate.json`.

    The reference has the bundle's own weights, or those of `checkpoint`, a Hugging Face folder, where one is given: then
    an error of the export's weights shows, too. `level` is the last level to run (all of them by default); `samples` is
    the number of problems of the task level. The reference takes 4 bytes of memory a weight beside the engine's own.
    """
    if level is not None and level not in LEVELS:
        raise DllmEdgeError(f"unknown level '{level}': choose one of {', '.join(LEVELS)}")
    wanted = LEVELS[: LEVELS.index(level) + 1] if level else LEVELS
    bundle = Bundle.open(bundle_path, verify=True)
    source = Checkpoint.open(checkpoint) if checkpoint else None
    if source and source.config != bundle.config:
        raise DllmEdgeError(f"{checkpoint}: not the model in {bundle_path}: give the checkpoint that it was made from")
    run = _Validation(bundle, source, progress or (lambda _stage, _share: None), samples)
    report = Report(str(bundle_path), [], {"python": platform.python_version()} | {name: version(name) for name in VERSIONS})
    for name in wanted:
        started = time.perf_counter()
        found = run.level(name)
        found.seconds = time.perf_counter() - started
        report.levels.append(found)
        if not found.passed:
            break
    _write(bundle_path, report)
    return report


class _Validation:
    """The reference and the engine, made when the first level asks for them."""

    def __init__(self, bundle: Bundle, checkpoint: Checkpoint | None, progress: Progress, samples: int) -> None:
        self.bundle, self.checkpoint, self.progress, self.samples = bundle, checkpoint, progress, samples
        self.models: tuple[Model, Model] | None = None

    def level(self, name: LevelName) -> Level:
        self.progress(name, 0.0)
        if name == "structure":
            problems = check_structure(self.bundle)
            level = Level(name, not problems, problems or ["names, axes, types, operators, hashes: as the contract has them"])
        elif name == "layers":
            level = check_layers(self.bundle, self._reference().step, lambda share: self.progress(name, share))
        elif not self.bundle.config.diffusion:
            level = Level(
                name, True, [f"not applicable: a {self.bundle.config.family} model has no mask token"], {"skipped": True}
            )
        else:
            level = self._trajectories() if name == "trajectory" else self._task()
        self.progress(name, 1.0)
        return level

    def _reference(self) -> TorchEngine:
        engine = self._models()[1].engine
        assert isinstance(engine, TorchEngine)
        return engine

    def _models(self) -> tuple[Model, Model]:
        """The model on ONNX Runtime, and the same on the reference."""
        if self.models is None:
            reference = TorchEngine(reference_step(self.bundle, self.checkpoint))
            self.models = Model(self.bundle, OnnxRuntimeEngine(self.bundle)), Model(self.bundle, reference)
        return self.models

    def _trajectories(self) -> Level:
        model, reference = self._models()
        block = min(model.settings("vanilla").block_length or TRAJECTORY_LENGTH, TRAJECTORY_LENGTH)
        runs: list[tuple[str, Settings]] = []
        length = TRAJECTORY_LENGTH - TRAJECTORY_LENGTH % block
        for system, unmask in TRAJECTORIES:
            if self.bundle.config.attention not in SYSTEMS[system].attention:
                continue
            changes = {"unmask": unmask, "confidence": "maskgit_plus", "gen_length": length, "block_length": block}
            runs.append((system, model.settings(system, **changes)))
        return check_trajectories(
            model.engine, reference.engine, self._prompts(model), runs, lambda share: self.progress("trajectory", share)
        )

    def _prompts(self, model: Model) -> Sequence[Sequence[int]]:
        """Prompts of the bundle's task, or random tokens of different counts where it names none."""
        if task := self.bundle.task:
            return [model.encode(problem.question) for problem in find_task(task).prompts(TRAJECTORY_PROMPTS)]
        generator = np.random.default_rng(0)
        allowed = np.setdiff1d(np.arange(self.bundle.config.vocab_size), self.bundle.manifest.forbidden)
        return [generator.choice(allowed, 6 + 5 * index).tolist() for index in range(TRAJECTORY_PROMPTS)]

    def _task(self) -> Level:
        """Accuracy of the bundle and of the reference on the same problems, and their paired difference."""
        if not self.bundle.task:
            return Level("task", True, ["not applicable: the bundle names no task"], {"skipped": True})
        task, system = find_task(self.bundle.task), TASK_SYSTEM
        model, reference = self._models()
        found = [
            evaluate(model, task, system, self.samples, lambda share: self.progress("task", share / 2)),
            evaluate(reference, task, system, self.samples, lambda share: self.progress("task", 0.5 + share / 2)),
        ]
        difference = paired_difference(found[0].correct, found[1].correct)
        level = Level("task", difference.high >= 0 >= difference.low, [])
        for label, evaluation in zip(("ONNX Runtime", "reference"), found, strict=True):
            low, high = evaluation.interval
            level.lines.append(
                f"{task.name}, {system}, {label}: {sum(evaluation.correct)} of {evaluation.samples} right "
                f"({evaluation.accuracy:.1%}, 95% interval {low:.1%} to {high:.1%})"
            )
        level.lines.append(f"difference {difference.difference:+.1%} ({difference.low:+.1%} to {difference.high:+.1%})")
        level.data = {"difference": difference.to_json(), "engine": found[0].to_json(), "reference": found[1].to_json()}
        return level


def _write(bundle_path: Path, report: Report) -> None:
    file = bundle_path / REPORT
    try:
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise DllmEdgeError(f"{file}: the report cannot be written ({error.strerror}); the validation itself ran") from error
