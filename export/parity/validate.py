"""Validation of a bundle against torch: the four levels in order, and the report that is kept with it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from ...graphs.errors import DllmEdgeError
from ...runtime.bundle.bundle import Bundle
from ...runtime.engines.onnxruntime.cpu import OnnxRuntimeEngine
from ...runtime.generate import Model
from ..checkpoint.checkpoint import Checkpoint
from .decodes import prompts, short_runs
from .layers import check_layers
from .levels import REPORTS, keep, levels_up_to, not_applicable, run_levels
from .reference import reference_step
from .report import Level, LevelName, Report
from .structure import check_structure
from .task import SAMPLES, check_task
from .torch_engine import TorchEngine
from .trajectory import check_trajectories

REPORT = Path(REPORTS) / "validate.json"
VERSIONS = ("dllm-edge", "torch", "onnxruntime", "numpy")

Progress = Callable[[str, float], None]


def validate(
    bundle_path: Path,
    checkpoint: Path | None = None,
    level: str | None = None,
    progress: Progress | None = None,
    samples: int = SAMPLES,
) -> Report:
    """Check a bundle against torch in float32 and write what was found to its `reports/validate.json`.

    The reference has the bundle's own weights, or those of `checkpoint`, a Hugging Face folder, where one is given: then
    an error of the export's weights shows, too. `level` is the last level to run (all of them by default); `samples` is
    the number of problems of the task level. The reference takes 4 bytes of memory a weight beside the engine's own.
    """
    wanted = levels_up_to(level)
    bundle = Bundle.open(bundle_path, verify=True)
    source = Checkpoint.open(checkpoint) if checkpoint else None
    if source and source.config != bundle.config:
        raise DllmEdgeError(f"{checkpoint}: not the model in {bundle_path}: give the checkpoint that it was made from")
    run = _Validation(bundle, source, progress or (lambda _stage, _share: None), samples)
    report = Report(str(bundle_path), [], {name: version(name) for name in VERSIONS})
    run_levels(report, wanted, run.level)
    keep(report, bundle_path / REPORT)
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
            level = not_applicable(name, f"a {self.bundle.config.family} model has no mask token")
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
        return check_trajectories(
            model.engine,
            reference.engine,
            prompts(model),
            short_runs(model),
            lambda share: self.progress("trajectory", share),
        )

    def _task(self) -> Level:
        model, reference = self._models()
        return check_task(model, reference, "ONNX Runtime", self.samples, lambda share: self.progress("task", share))
