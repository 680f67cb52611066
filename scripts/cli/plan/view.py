"""A plan as text: what it is for, a row a decode, and what would help where something does not fit."""

from __future__ import annotations

from rich.console import RenderableType
from rich.table import Table

from ....export.plan.devices import GB
from ....export.plan.estimate import Estimate, Phase
from ....export.plan.plan import ASSUMPTIONS, Plan, Row
from ....export.plan.speed import StepTime
from ....export.plan.target import HEADROOM
from ..terminal.output import counted, key_values, screen, size, verdict

PHASES: tuple[Phase, ...] = ("run", "load", "build")


def print_plan(plan: Plan) -> None:
    """Print a plan, with all that it assumes."""
    out = screen()
    out.print(key_values(_heading(plan)))
    out.print(_table(plan))
    for line in _shortfalls(plan):
        out.print(line, highlight=False, soft_wrap=True)
    for note in plan.notes:
        out.print(f"warning: {note}", style="yellow", highlight=False, soft_wrap=True)
    for line in ASSUMPTIONS:
        out.print(f"- {line}", style="dim", highlight=False, soft_wrap=True)


def _heading(plan: Plan) -> dict[str, object]:
    target, device, first = plan.target, plan.target.device, plan.rows[0].estimate
    bandwidth = "" if device.bandwidth is None else f", {device.bandwidth / GB:.4g} GB/s"
    reserved = f" without {size(target.reserved_bytes)} for the system" if target.reserved_bytes else ""
    rows: dict[str, object] = {
        "model": f"{plan.model.path.name}: {plan.model.config.family}, {plan.model.precision}",
        "device": f"{device.name}, {size(device.memory)}{bandwidth}",
        "engine": f"{target.engine}, {'on the CPU, in float32' if target.cpu else f'{target.flavour} flavour'}",
        "known": f"{plan.known} ({target.row.title})",
        "may fill": f"{size(target.limit_bytes)}, {HEADROOM:.0%} of the memory{reserved}",
        "weights": f"{size(first.weight_bytes)} in memory{_profiles(first)}, {size(first.stored_weight_bytes)} in the bundle",
        "loading": f"{size(first.load_bytes)} at most",
    }
    if first.build_bytes:
        memory = "on the device" if target.shares_memory else "in the memory of the host that builds"
        swap = f", {size(first.swap_bytes)} of it swap (of {size(target.swap_bytes)})" if target.swap_bytes else ""
        rows["building"] = f"about {size(first.build_bytes)} {memory}{swap}"
    return rows | ({"note": device.note} if device.note else {})


def _profiles(first: Estimate) -> str:
    """Return what of the weights' memory is no weight: an engine file has kernels for each of its profiles."""
    named = counted(len(first.steps.profiles), "profile")
    return f" (of it {size(first.profile_bytes)} for {named} of the engine file)" if first.profile_bytes else ""


def _table(plan: Plan) -> Table:
    title = "estimates; * bound by arithmetic, others by bandwidth"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("system", no_wrap=True)
    columns = (
        "context",
        "cache\n(peak)",
        "values",
        "total",
        *(f"{phase}\nfits" for phase in PHASES),
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


def _cells(plan: Plan, row: Row) -> list[RenderableType]:
    estimate, steady, peak = row.estimate, row.estimate.steady_cache_bytes, row.estimate.peak_cache_bytes
    cells: list[RenderableType] = [
        estimate.scenario.decode.system,
        str(estimate.scenario.decode.context),
        "none" if not peak else _short(steady) if steady == peak else f"{_short(steady)}\n({_short(peak)})",
        _short(estimate.activation_bytes),
        _short(estimate.run_bytes),
        *(_fits(estimate, phase) for phase in PHASES),
    ]
    if row.speed is None:
        return [*cells, "?", "?", *_tokens(plan, "?")]
    step = row.speed.block or row.speed.full
    cells += [f"{1 / step.seconds:.1f}{_mark(step)}", f"{row.speed.full.seconds:.3f}{_mark(row.speed.full)}"]
    return cells + _tokens(plan, f"{row.speed.tokens_per_second(plan.tokens_per_forward or 1):.1f}")


def _fits(estimate: Estimate, phase: Phase) -> RenderableType:
    """Return whether a phase fits; a build where none is needed or its host is not known is neither."""
    if phase not in [each.phase for each in estimate.phases]:
        return "?" if estimate.build_bytes else "-"
    return verdict(phase not in estimate.missing_bytes, "yes", "no")


def _mark(step: StepTime) -> str:
    return "*" if step.compute_bound else ""


def _short(count: int) -> str:
    return f"{count / GB:.1f} GB" if count >= GB else f"{count / 1e6:.0f} MB"


def _shortfalls(plan: Plan) -> list[str]:
    """Return what is missing, phase by phase, and a line for each way out; once for all decodes of which it is the same."""
    names: dict[tuple[str, ...], list[str]] = {}
    for row in (row for row in plan.rows if not row.estimate.fits):
        decode = row.estimate.scenario.decode
        names.setdefault(_shortfall(plan, row), []).append(f"{decode.system} at {decode.context}")
    return [line for lines, decodes in names.items() for line in (f"{', '.join(decodes)}: {lines[0]}", *lines[1:])]


def _shortfall(plan: Plan, row: Row) -> tuple[str, ...]:
    missing = ", ".join(f"{phase} lacks {size(count)}" for phase, count in row.estimate.missing_bytes.items())
    ways = [f"  would fit: {remedy}" for remedy in row.remedies]
    none = f"  nothing that was tried fits {plan.target.device.name}: take a larger device or a smaller model"
    return (f"does not fit, {missing}", *(ways or [none]))
