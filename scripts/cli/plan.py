"""`dllm-edge plan`: from options to a plan, and what it prints."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rich.table import Table

from ...export.plan.decode import Decode
from ...export.plan.devices import GB, describe_device
from ...export.plan.model import PlannedModel, known_dtype
from ...export.plan.plan import ASSUMPTIONS, Plan, Row, decodes_of, make_plan
from ...export.plan.speed import StepTime
from ...export.plan.target import HEADROOM, Target, target_of
from ...graphs.errors import DllmEdgeError
from ...graphs.weight_formats import WeightFormat, WeightFormats
from ...runtime.systems import SYSTEMS
from .bundles import CHECKPOINT, DEMO
from .options import parse_systems
from .output import key_values, print_json, screen, size

CONTEXT, GROUP = 2048, 32


@dataclass(frozen=True)
class FormatWish:
    """Names of formats, and one group for all; None: the model's own."""

    linear: str | None = None
    head: str | None = None
    embedding: str | None = None
    group: int | None = None

    def instead_of(self, own: WeightFormats) -> WeightFormats:
        if self == FormatWish():
            return own
        parts = ((self.linear, own.linear), (self.head, own.head), (self.embedding, own.embedding))
        groups = [each.group for _, each in parts if each.quantised]
        group = self.group if self.group is not None else groups[0] if groups else GROUP
        return WeightFormats(*(WeightFormat.named(each.name if name is None else name, group) for name, each in parts))


@dataclass(frozen=True)
class Wish:
    """What was asked for; of `decode`, system and context are not set."""

    model: str
    target: Target
    systems: str | None
    context: str | None
    decode: Decode
    dtype: str | None
    formats: FormatWish
    tokens_per_forward: float | None


def target(
    device: str | None,
    memory: float | None,
    bandwidth: float | None,
    tflops: float | None,
    engine: str,
    flavour: str | None,
    desktop: bool,
    swap: float,
) -> Target:
    host = engine == "onnxruntime"
    described = describe_device(device, memory_gb=memory, bandwidth_gb=bandwidth, tflops=tflops, host=host)
    return target_of(described, engine=engine, flavour=flavour, desktop=desktop, swap_gb=swap)


def lengths(gen_length: int, block_length: int, retention: float, batch: int) -> Decode:
    """A decode whose system and context are not chosen yet."""
    return Decode("", 0, gen_length, block_length, retention, batch)


def show_plan(wish: Wish, as_json: bool) -> bool:
    """Print the plan; whether everything fits."""
    if not wish.model:
        raise DllmEdgeError("give a folder with a config.json or a bundle, as in 'dllm-edge plan MODEL --device l4'")
    model = _model(wish)
    decodes = decodes_of(_systems(wish, model), _contexts(wish, model), wish.decode)
    plan = make_plan(model, wish.target, decodes, wish.tokens_per_forward)
    if as_json:
        print_json(plan.to_json())
    else:
        _print(plan)
    return plan.fits


def _model(wish: Wish) -> PlannedModel:
    model = PlannedModel.read(CHECKPOINT if wish.model == DEMO else Path(wish.model))
    precision = model.precision
    if wish.dtype is not None:
        precision = replace(precision, dtype=known_dtype(wish.dtype))
    formats = wish.formats.instead_of(precision.formats)
    return replace(model, precision=replace(precision, formats=formats))


def _systems(wish: Wish, model: PlannedModel) -> list[str]:
    if wish.systems is not None:
        return parse_systems(wish.systems)
    return [name for name, system in SYSTEMS.items() if model.config.attention in system.attention]


def _contexts(wish: Wish, model: PlannedModel) -> list[int]:
    if wish.context is None:
        return [min(CONTEXT, model.config.max_positions)]
    parts = [part.strip() for part in wish.context.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise DllmEdgeError(f"--context {wish.context}: must be numbers of tokens separated by commas, as in 512,2048")
    return [int(part) for part in parts]


def _print(plan: Plan) -> None:
    out = screen()
    out.print(key_values(_heading(plan)))
    out.print(_table(plan))
    for line in _shortfalls(plan):
        out.print(line, highlight=False, soft_wrap=True)
    for line in ASSUMPTIONS:
        out.print(f"- {line}", style="dim", highlight=False, soft_wrap=True)


def _heading(plan: Plan) -> dict[str, object]:
    target, device, first = plan.target, plan.target.device, plan.rows[0].estimate
    bandwidth = "" if device.bandwidth is None else f", {device.bandwidth / GB:g} GB/s"
    reserve = (
        f" of the memory without {size(target.reserved_bytes)} for the system" if target.reserved_bytes else " of the memory"
    )
    rows: dict[str, object] = {
        "model": f"{plan.model.path.name}: {plan.model.config.family}, {plan.model.precision}",
        "device": f"{device.name}, {size(device.memory)}{bandwidth}",
        "engine": f"{target.engine}, {'on the CPU, in float32' if target.cpu else f'{target.flavour} flavour'}",
        "may fill": f"{size(target.limit_bytes)}, {HEADROOM:.0%}{reserve}",
        "weights": f"{size(first.weight_bytes)} in memory, {size(first.stored_weight_bytes)} in the bundle",
        "loading": f"{size(first.load_bytes)} at most",
    }
    if first.build_bytes:
        memory = "on the device" if target.shares_memory else "in the memory of the host that builds"
        rows["building"] = f"about {size(first.build_bytes)} {memory}" + (
            f", {size(target.swap_bytes)} of it swap" if target.swap_bytes else ""
        )
    return rows | ({"note": device.note} if device.note else {})


def _table(plan: Plan) -> Table:
    title = "estimates; * bound by arithmetic, others by bandwidth"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("system", no_wrap=True)
    columns = (
        "context",
        "cache\n(peak)",
        "values",
        "total",
        "fits",
        "steps\n/s",
        "full\nstep, s",
        *_tokens(plan, "tokens\n/s"),
    )
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in plan.rows:
        table.add_row(*_cells(plan, row))
    return table


def _tokens(plan: Plan, cell: str) -> list[str]:
    return [cell] if plan.tokens_per_forward else []


def _cells(plan: Plan, row: Row) -> list[str]:
    figures, steady, peak = row.estimate, row.estimate.steady_cache_bytes, row.estimate.peak_cache_bytes
    cells = [
        figures.scenario.decode.system,
        str(figures.scenario.decode.context),
        "none" if not peak else _short(steady) if steady == peak else f"{_short(steady)}\n({_short(peak)})",
        _short(figures.activation_bytes),
        _short(figures.run_bytes),
        "[green]yes" if figures.fits else "[red]no",
    ]
    if row.speed is None:
        return [*cells, "?", "?", *_tokens(plan, "?")]
    step = row.speed.block or row.speed.full
    cells += [f"{1 / step.seconds:.1f}{_mark(step)}", f"{row.speed.full.seconds:.3f}{_mark(row.speed.full)}"]
    return cells + _tokens(plan, f"{row.speed.tokens_per_second(plan.tokens_per_forward or 1):.1f}")


def _mark(step: StepTime) -> str:
    return "*" if step.compute_bound else ""


def _short(count: int) -> str:
    return f"{count / GB:.1f} GB" if count >= GB else f"{count / 1e6:.0f} MB"


def _shortfalls(plan: Plan) -> list[str]:
    """What is missing, phase by phase, and a line for each way out; once for all decodes of which it is the same."""
    names: dict[tuple[str, ...], list[str]] = {}
    for row in (row for row in plan.rows if not row.estimate.fits):
        decode = row.estimate.scenario.decode
        names.setdefault(_shortfall(plan, row), []).append(f"{decode.system} at {decode.context}")
    return [line for lines, found in names.items() for line in (f"{', '.join(found)}: {lines[0]}", *lines[1:])]


def _shortfall(plan: Plan, row: Row) -> tuple[str, ...]:
    missing = ", ".join(f"{phase} lacks {size(count)}" for phase, count in row.estimate.missing_bytes.items())
    ways = [f"  would fit: {remedy}" for remedy in row.remedies]
    none = f"  nothing that was tried fits {plan.target.device.name}: take a larger device or a smaller model"
    return (f"does not fit, {missing}", *(ways or [none]))
