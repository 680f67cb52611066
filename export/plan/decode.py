"""What is decoded: the system, its lengths, and the steps and cache slots that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

from ...graphs.config import ModelConfig
from ...graphs.contract import Profile
from ...graphs.errors import DllmEdgeError
from ...runtime.decoding.canvas import Canvas
from ...runtime.decoding.settings import Settings
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
    given = 1 if config.mask_token_id == 0 else 0
    canvas = Canvas.from_prompt([given] * (decode.context - decode.gen_length), decode.gen_length, config)
    capacity, block, batch = system.capacity(canvas, settings), settings.block, decode.batch
    if not capacity:
        return Steps(Profile(batch, decode.context, 0, block), None, None, decode.context, 0, 0)
    full = Profile(1, decode.context, 0, block)
    if system.name == "fast-dllm-prefix":
        mean = (settings.gen_length + block) / 2
        return Steps(full, 1, Profile(batch, settings.gen_length, capacity, block), mean, capacity, 0)
    full_steps, staged = (1 + settings.delay, decode.context) if system.staged else (1, 0)
    return Steps(full, full_steps, Profile(batch, block, capacity, block), block, capacity, staged)
