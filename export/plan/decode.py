"""What is decoded: the system, its lengths, and the steps and cache slots that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...graphs.config import ModelConfig
from ...graphs.contract import Profile
from ...graphs.errors import DllmEdgeError
from ...runtime.decoding.settings import Settings
from ...runtime.scheduler.rehearsal import rehearse
from ...runtime.systems import find_system


@dataclass(frozen=True)
class Decode:
    """`context` is the length of the canvas, prompt and generation together; `batch` sequences decode at a time."""

    system: str
    context: int
    gen_length: int = 128
    block_length: int = 32
    retention: float = 0.5
    batch: int = 1

    def settings(self) -> Settings:
        return Settings(gen_length=self.gen_length, block_length=self.block_length, retention=self.retention)


@dataclass(frozen=True)
class Steps:
    """The steps of a block, and the slots of each sequence's cache.

    `full` sends the whole canvas of one sequence (of all of them, where nothing is cached), `full_steps` times a block
    (None: every step does); `block` is the largest of the others, `mean_queries` what these send on average. `staged` are
    the slots of the one sequence whose refresh is evicted.
    """

    full: Profile
    full_steps: int | None
    block: Profile | None
    mean_queries: float
    capacity: int
    staged: int

    @property
    def profiles(self) -> tuple[Profile, ...]:
        return (self.full,) if self.block is None else (self.full, self.block)


def steps_of(config: ModelConfig, decode: Decode) -> Steps:
    """As the decoding system has them; raises `DllmEdgeError` for lengths that do not fit it or the model."""
    system, settings = find_system(decode.system), decode.settings()
    if config.attention not in system.attention:
        raise DllmEdgeError(f"{system.name} is not for models with {config.attention} attention: use --systems vanilla")
    if decode.context <= decode.gen_length:
        raise DllmEdgeError(
            f"--context {decode.context}: must exceed --gen-length {decode.gen_length}, it is prompt and generation together"
        )
    rehearsal = rehearse(config, (system, settings), decode.context)
    profiles = [forward.profile for forward in rehearsal.forwards]
    blocks = [profile for profile in profiles if profile.capacity]
    rows = max(profile.rows for profile in profiles)
    if not blocks:
        return Steps(Profile(decode.batch, decode.context, 0, rows), None, None, decode.context, 0, 0)
    block = replace(max(blocks, key=lambda profile: profile.queries), batch=decode.batch)
    full_steps = (len(profiles) - len(blocks)) // settings.block_count
    mean = sum(profile.queries for profile in blocks) / len(blocks)
    evicted = rehearsal.peak_slots - rehearsal.steady_slots
    return Steps(Profile(1, decode.context, 0, rows), full_steps, block, mean, rehearsal.steady_slots, evicted)
