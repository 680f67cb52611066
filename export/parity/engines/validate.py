"""Validation of an engine: held against ONNX Runtime on a CPU over the bundle's float32 graph, level by level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

import onnxruntime

from ....graphs.errors import DllmEdgeError
from ....runtime.bundle.bundle import Bundle
from ....runtime.decoding.canvas import Canvas
from ....runtime.engines.onnxruntime.cpu import OnnxRuntimeEngine
from ....runtime.evaluation.task import find_task
from ....runtime.generate import Model
from ....runtime.scheduler.rehearsal import check_served
from ....runtime.scheduler.request import Request
from ....runtime.systems import SYSTEMS
from ..decodes import Run, default_runs, prompts, short_runs
from ..levels import REPORTS, keep, levels_up_to, not_applicable, run_levels
from ..report import Level, LevelName, Report
from ..task import SAMPLES, SYSTEM, check_task
from ..trajectory import ROUNDING, check_trajectories
from .layers import check_layers
from .subject import Subject

VERSIONS = ("dllm-edge", "numpy", "polygraphy")
REFERENCE = "ONNX Runtime on a CPU in float32"

Progress = Callable[[str, float], None]


def validate_engine(
    model: Model, level: str | None = None, progress: Progress | None = None, samples: int = SAMPLES, threads: int = 0
) -> Report:
    """Check an engine against ONNX Runtime on a CPU and keep what was found in the bundle's `reports`.

    `level` is the last to run, `samples` the number of problems of the task level, `threads` the reference's. The reference
    takes 4 bytes of memory a weight on the host. What the engine was not built for is reported as not applicable.
    """
    wanted = levels_up_to(level)
    subject = Subject(model.bundle, model.engine)
    run = _EngineValidation(model, subject, progress or (lambda _stage, _share: None), samples, threads)
    label = f"{model.engine.name} in {subject.compute}"
    report = Report(str(model.bundle.path), [], _versions(subject), label, REFERENCE)
    run_levels(report, wanted, run.level)
    keep(report, model.bundle.path / REPORTS / f"validate-{label.replace(' in ', '-')}.json")
    return report


class _EngineValidation:
    def __init__(self, model: Model, subject: Subject, progress: Progress, samples: int, threads: int) -> None:
        self.model, self.subject, self.progress, self.samples = model, subject, progress, samples
        self.threads, self.held = threads, list[Model]()

    def level(self, name: LevelName) -> Level:
        self.progress(name, 0.0)
        if name == "structure":
            level = self._structure()
        elif name == "layers":
            level = self._layers()
        elif not self.model.config.diffusion:
            level = not_applicable(name, f"a {self.model.config.family} model has no mask token")
        else:
            level = self._trajectories() if name == "trajectory" else self._task()
        self.progress(name, 1.0)
        return level

    def _tell(self, name: LevelName) -> Callable[[float], None]:
        return lambda share: self.progress(name, share)

    def _reference(self) -> Model:
        """Loaded when the first level asks for it."""
        if not self.held:
            bundle = self.model.bundle
            self.held.append(Model(bundle, OnnxRuntimeEngine(bundle, self.threads)))
        return self.held[0]

    def _structure(self) -> Level:
        """The bundle's files, all read again. Whether the engine is of this bundle was checked when it was opened."""
        bundle = self.model.bundle
        Bundle.open(bundle.path, verify=True)
        return Level("structure", True, [f"{len(bundle.manifest.files)} files of the bundle: hashes as the manifest has them"])

    def _layers(self) -> Level:
        engine = self._reference().engine
        assert isinstance(engine, OnnxRuntimeEngine)
        return check_layers(self.model.bundle, self.subject, engine, self._tell("layers"))

    def _trajectories(self) -> Level:
        """The decodes that the engine serves; each that it does not is named, with what would."""
        given = prompts(self.model)
        served, refused = self._served(given)
        if not served:
            return not_applicable("trajectory", refused[0])
        bound = ROUNDING[self.subject.compute]
        reference = self._reference().engine
        level = check_trajectories(self.model.engine, reference, given, served, self._tell("trajectory"), bound)
        level.lines += [f"not applicable: {problem}" for problem in refused]
        level.data["not_applicable"] = refused
        return level

    def _served(self, given: Sequence[Sequence[int]]) -> tuple[list[Run], list[str]]:
        """Each decode at the shortest lengths that the engine was built for; else why there are none."""
        served: list[Run] = []
        refused: list[str] = []
        for choices in zip(short_runs(self.model), default_runs(self.model), strict=True):
            problems = [self._problem(given, run) for run in choices]
            if None in problems:
                served.append(choices[problems.index(None)])
            else:
                refused.append(f"{choices[1][0]}, {choices[1][1].unmask}: {problems[1]}")
        return served, refused

    def _problem(self, given: Sequence[Sequence[int]], run: Run) -> str | None:
        system, settings = run
        canvases = [Canvas.from_prompt(prompt, settings.gen_length, self.model.config) for prompt in given]
        try:
            check_served(self.model.engine, [Request(canvas, SYSTEMS[system], settings) for canvas in canvases])
        except DllmEdgeError as error:
            return str(error)
        return None

    def _task(self) -> Level:
        if self.model.bundle.task:
            problems = find_task(self.model.bundle.task).prompts(self.samples)
            try:
                check_served(
                    self.model.engine, [self.model.request(self.model.encode(one.question), SYSTEM) for one in problems]
                )
            except DllmEdgeError as error:
                return not_applicable("task", f"{SYSTEM}: {error}")
        return check_task(self.model, self._reference(), self.subject.engine.name, self.samples, self._tell("task"))


def _versions(subject: Subject) -> dict[str, str]:
    found = {"onnxruntime": onnxruntime.__version__}
    if subject.plans:
        found[subject.plans.library.name] = subject.plans.library.version
    return found | {name: _version(name) for name in VERSIONS}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
