"""The steps that a decode asks of an engine, and the cache slots that it holds."""

from __future__ import annotations

from dataclasses import dataclass

from ...graphs.config import ModelConfig
from ...graphs.contract import Profile
from ...graphs.errors import DllmEdgeError
from ...runtime.decoding.canvas import Canvas
from ...runtime.systems import find_system
from .decode import Decode


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
        """The profiles that an engine needs."""
        return (self.full,) if self.block is None else (self.full, self.block)

    @property
    def unbound(self) -> tuple[Profile, ...]:
        """The profiles of steps whose new keys and values take memory of their own, since no cache is bound to them."""
        return self.profiles if self.block is None or self.evicts else (self.block,)

    @property
    def evicts(self) -> bool:
        """Whether a refresh fills a cache of the whole canvas, of which only a part is kept."""
        return self.staged > 0

    @property
    def steady_slots(self) -> int:
        """Slots of all caches between refreshes."""
        return 0 if self.block is None else self.block.batch * self.capacity

    @property
    def peak_slots(self) -> int:
        """The same, and those of the one sequence that is being evicted."""
        return self.steady_slots + self.staged

    def full_steps_of(self, forwards: int) -> int:
        """Return how many of a block's `forwards` send the whole canvas."""
        return forwards if self.block is None or self.full_steps is None else min(self.full_steps, forwards)


def steps_of(config: ModelConfig, decode: Decode) -> Steps:
    """Return the steps of the decoding system; raises `DllmEdgeError` for lengths that do not fit it or the model."""
    system, settings = find_system(decode.system), decode.settings()
    if config.attention not in system.attention:
        raise DllmEdgeError(f"{system.name} is not for models with {config.attention} attention: use --systems vanilla")
    if decode.context <= decode.gen_length:
        raise DllmEdgeError(
            f"--context {decode.context}: must exceed --gen-length {decode.gen_length}, it is prompt and generation together"
        )
    prompt_token = 1 if config.mask_token_id == 0 else 0
    canvas = Canvas.from_prompt([prompt_token] * (decode.context - decode.gen_length), decode.gen_length, config)
    capacity, block, batch = system.capacity(canvas, settings), settings.block, decode.batch
    if not capacity:
        return Steps(Profile(batch, decode.context, 0, block), None, None, decode.context, 0, 0)
    full = Profile(1, decode.context, 0, block)
    if system.name == "fast-dllm-prefix":
        mean = (settings.gen_length + block) / 2
        return Steps(full, 1, Profile(batch, settings.gen_length, capacity, block), mean, capacity, 0)
    full_steps, staged = (1 + settings.delay, decode.context) if system.staged else (1, 0)
    return Steps(full, full_steps, Profile(batch, block, capacity, block), block, capacity, staged)
