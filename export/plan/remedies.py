"""What would fit where a plan does not: one change at a time, and where none is enough, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil

from ...graphs.errors import DllmEdgeError
from ...graphs.weight_formats import FORMAT_NAMES, GROUPS, WeightFormat, WeightFormats
from .decode import Decode
from .devices import GB
from .estimate import Estimate, estimate
from .model import Precision, Subject
from .target import Target

CONTEXT_STEP = 64
SWAP = "--swap"
# Of the layers, LM head and embedding: the names that each may have at most; an embedding is never int4.
FORMAT_LIMITS = (
    ("int8", "plain", "plain"),
    ("int4", "plain", "plain"),
    ("int4", "int8", "int8"),
    ("int4", "int4", "int8"),
)


@dataclass(frozen=True)
class Situation:
    subject: Subject
    decode: Decode
    target: Target

    def estimate(self) -> Estimate:
        return estimate(self.subject, self.decode, self.target)

    def stored_as(self, precision: Precision) -> Situation:
        return replace(self, subject=replace(self.subject, precision=precision))

    def decoding(self, decode: Decode) -> Situation:
        return replace(self, decode=decode)


@dataclass(frozen=True)
class Remedy:
    """`change` in words, as options; `figures` the memory that it leads to."""

    change: str
    figures: Estimate

    def __str__(self) -> str:
        """With the phase that is tightest then."""
        found = self.figures
        phases = [("run", found.run, found.limit), ("load", found.load, found.limit)]
        if found.build and found.build_limit is not None:
            phases.append(("build", found.build, found.build_limit))
        phase, need, limit = max(phases, key=lambda each: each[1] / each[2])
        return f"{self.change}: {phase} takes {need / GB:.1f} of {limit / GB:.1f} GB"


Change = Callable[[Situation], Iterator[tuple[str, Situation]]]
"""The variants of a situation that one kind of change gives, mildest first, each with its options."""


def remedies(situation: Situation) -> list[Remedy]:
    """The mildest variant of each kind of change that fits alone; else as few kinds together as fit; else none."""
    if situation.target.limit <= 0:
        return []
    swap = _settled([], situation)
    single = [found for change in CHANGES if (found := _together(situation, [change]))]
    if swap:
        single = [swap, *(found for found in single if SWAP not in found.change)]
    return single or _fewest(situation)


def _fewest(situation: Situation) -> list[Remedy]:
    """Of all kinds together leave out what is not needed, first what changes the answers most."""
    chosen, found = list(CHANGES), _together(situation, CHANGES)
    if found is None:
        return []
    for change in reversed(CHANGES):
        fewer = [other for other in chosen if other is not change]
        if better := _together(situation, fewer):
            chosen, found = fewer, better
    return [found]


def _together(situation: Situation, changes: Sequence[Change]) -> Remedy | None:
    """The changes at their strongest, the last at its mildest that fits; None where that is not enough."""
    taken: list[str] = []
    for change in changes[:-1]:
        if variants := list(change(situation)):
            options, situation = variants[-1]
            taken.append(options)
    last = list(changes[-1](situation)) if changes else []
    found = [remedy for options, variant in last if (remedy := _settled([*taken, options], variant))]
    return min(found, key=lambda remedy: SWAP in remedy.change, default=None) or _settled(taken, situation)


def _settled(taken: list[str], situation: Situation) -> Remedy | None:
    """The remedy that these options are, with swap where only the build lacks memory: there it is slow, elsewhere hopeless."""
    figures = situation.estimate()
    if set(figures.over) == {"build"}:
        swap = situation.target.swap + ceil(figures.over["build"] / GB) * GB
        figures = replace(situation, target=replace(situation.target, swap=swap)).estimate()
        taken = [*taken, f"{SWAP} {swap // GB}"]
    return Remedy(" ".join(taken), figures) if taken and figures.fits else None


def _dtype(situation: Situation) -> Iterator[tuple[str, Situation]]:
    precision = situation.subject.precision
    if precision.dtype == "float32":
        yield "--dtype bfloat16", situation.stored_as(replace(precision, dtype="bfloat16"))


def _formats(situation: Situation) -> Iterator[tuple[str, Situation]]:
    """Integers in the layers; then in head and embedding, too: what takes less memory than the present formats."""
    precision = situation.subject.precision
    least = situation.estimate().weights
    for limits in FORMAT_LIMITS:
        names = _narrowed(precision.formats, limits, situation.target)
        if formats := _widest(names, situation):
            variant = situation.stored_as(replace(precision, formats=formats))
            if (weights := variant.estimate().weights) < least:
                least = weights
                yield _options(formats), variant


def _narrowed(formats: WeightFormats, limits: tuple[str, ...], target: Target) -> list[str]:
    """The names of the formats within the limits; for JetPack 6 no int8 but in the embedding, which has no DequantizeLinear."""
    present = [each.name for each in (formats.linear, formats.head, formats.embedding)]
    names = [max(pair, key=FORMAT_NAMES.index) for pair in zip(present, limits, strict=True)]
    matrices = ["int4" if name == "int8" and target.jetpack_6 else name for name in names[:2]]
    return [*matrices, names[2]]


def _widest(names: Sequence[str], situation: Situation) -> WeightFormats | None:
    """The formats of these names in the largest groups that divide the model's weights."""
    choices = (WeightFormats(*(WeightFormat.named(name, group) for name in names)) for group in sorted(GROUPS, reverse=True))
    return next((formats for formats in choices if _divides(formats, situation)), None)


def _options(formats: WeightFormats) -> str:
    options = f"--weights {formats.linear.name} --group {formats.linear.group}"
    outer = {"--head-weights": formats.head, "--embedding-weights": formats.embedding}
    return " ".join([options, *(f"{option} {each.name}" for option, each in outer.items() if each.quantised)])


def _divides(formats: WeightFormats, situation: Situation) -> bool:
    try:
        formats.check(situation.subject.config)
    except DllmEdgeError:
        return False
    return True


def _flavour(situation: Situation) -> Iterator[tuple[str, Situation]]:
    if situation.target.flavour == "portable":
        yield "--flavour fused", replace(situation, target=replace(situation.target, flavour="fused"))


def _batch(situation: Situation) -> Iterator[tuple[str, Situation]]:
    batch = situation.decode.batch
    while batch > 1:
        batch //= 2
        yield f"--batch {batch}", situation.decoding(replace(situation.decode, batch=batch))


def _retention(situation: Situation) -> Iterator[tuple[str, Situation]]:
    decode = situation.decode
    if situation.subject.config.attention != "bidirectional":
        return
    for retention in (0.5, 0.25):
        if decode.system != "sparse-dllm" or retention < decode.retention:
            changed = replace(decode, system="sparse-dllm", retention=retention)
            yield f"--systems sparse-dllm --retention {retention:g}", situation.decoding(changed)


def _block(situation: Situation) -> Iterator[tuple[str, Situation]]:
    block = situation.decode.settings().block
    while block % 2 == 0 and block > 8:
        block //= 2
        yield f"--block-length {block}", situation.decoding(replace(situation.decode, block_length=block))


def _context(situation: Situation) -> Iterator[tuple[str, Situation]]:
    decode = situation.decode
    longest = (decode.context - 1) // CONTEXT_STEP * CONTEXT_STEP
    for context in range(longest, decode.gen_length, -CONTEXT_STEP):
        yield f"--context {context}", situation.decoding(replace(decode, context=context))


# What changes the answers least comes first.
CHANGES: tuple[Change, ...] = (_dtype, _flavour, _formats, _batch, _retention, _block, _context)
