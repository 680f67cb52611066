"""The public Python interface: `load` a bundle, then `generate`, `generate_batch` or `stream` with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..graphs.config import ModelConfig
from ..graphs.errors import DllmEdgeError, shown
from ..graphs.schema import true_or_false
from .bundle.bundle import Bundle
from .bundle.demo import DEMO, exported_demo
from .bundle.manifest import CHAT_TEMPLATE
from .bundle.tokenizer import BundleTokenizer
from .decoding.canvas import Canvas, token_ids
from .decoding.changes import Change, Commit, Edit, Remask, Truncation
from .decoding.settings import Settings
from .decoding.step import GUIDE, MAIN
from .decoding.trace import StepTrace
from .engines.base import Engine
from .engines.open import choose_device, open_engine
from .guide import Guide, check_guide, open_guide
from .scheduler.rehearsal import check_served
from .scheduler.request import Changed, Finished, FinishReason, Request, SchedulerEvent
from .scheduler.scheduler import Scheduler
from .systems import find_system
from .systems.defaults import bundle_defaults, settings_of

KINDS: dict[type[Change], str] = {Commit: "commit", Remask: "remask", Edit: "edit", Truncation: "truncate"}
Message = Mapping[str, str]
Prompt = str | Sequence[int]


@dataclass(frozen=True)
class Generation:
    """What a decode gave. `token_ids` are those before the end-of-text token: never the prompt, never padding.

    `rows_sent` are the rows of all forwards, without padding: what a CPU computes, and pays for.
    """

    text: str
    token_ids: list[int]
    canvas: list[int]
    finish_reason: FinishReason
    system: str
    settings: Settings
    forwards: int
    refresh_forwards: int
    rows_sent: int
    seconds: float
    engine_seconds: float
    steady_cache_bytes: int
    peak_cache_bytes: int
    trace: list[StepTrace]

    @property
    def host_seconds(self) -> float:
        return self.seconds - self.engine_seconds

    @property
    def tokens_per_forward(self) -> float:
        return len(self.token_ids) / self.forwards if self.forwards else 0.0

    def to_json(self) -> dict[str, Any]:
        data = {name: value for name, value in vars(self).items() if name not in ("trace", "settings")}
        settings = self.settings.values_of(find_system(self.system).setting_names)
        data |= {"settings": settings, "host_seconds": self.host_seconds}
        data |= {"generated_tokens": len(self.token_ids), "tokens_per_forward": self.tokens_per_forward}
        return data | {"trace": [step.to_json() for step in self.trace]}


@dataclass(frozen=True)
class Event:
    """One change of the canvas while a decode runs: positions, and the token ids and confidences that they have then.

    `kind` is `commit`, `remask` (the ids are the mask token's, without confidences), `edit`, or `truncate` (no positions).
    """

    forward: int
    positions: list[int]
    token_ids: list[int]
    confidences: list[float]
    canvas: list[int]
    kind: str = "commit"


class Model:
    """A bundle on an engine, and the guide that judges its drafts in systems that ask for one."""

    def __init__(self, bundle: Bundle, engine: Engine, guide: Guide | None = None) -> None:
        self.bundle, self.engine, self.config, self.guide = bundle, engine, bundle.config, guide
        bundle_defaults(bundle)  # so that wrong ones are refused before a decode
        self.tokenizer = BundleTokenizer(bundle.path, bundle.config, CHAT_TEMPLATE in bundle.manifest.files)
        self.tokens_of_guide = None if guide is None else guide.tokens_for(self.tokenizer)

    def settings(self, system: str, **changes: Any) -> Settings:
        """The settings of a decode: the bundle's defaults, the system's own, the bundle's for that system, then `changes`."""
        return settings_of(self.bundle, system, changes)

    def encode(
        self,
        prompt: Prompt | None = None,
        messages: Sequence[Message] | None = None,
        chat: bool = True,
        special_tokens: bool = False,
    ) -> list[int]:
        """Return the token ids of a prompt: text (through the chat template, where the bundle has one), ids, or chat messages.

        Special tokens are the chat template's: texts that contain one are refused, unless `special_tokens` allows it, as for a
        prompt that was rendered elsewhere (`chat=False`). Raises `DllmEdgeError` for what is no prompt, and for ids that the
        model does not have.
        """
        if (prompt is None) == (messages is None):
            raise DllmEdgeError("give either a prompt or messages")
        true_or_false(chat, "chat")
        true_or_false(special_tokens, "special_tokens")
        if prompt is not None and not isinstance(prompt, str):
            return _prompt_ids(prompt, self.config)
        if prompt == "":
            raise DllmEdgeError("the prompt is empty: give it some text, or token ids")
        if messages is None and chat and self.tokenizer.chat_template is not None:
            messages = [{"role": "user", "content": str(prompt)}]
        if messages is None:
            return self.tokenizer.encode(str(prompt), special_tokens)
        return self.tokenizer.encode(self.tokenizer.chat(messages, special_tokens), special_tokens=True)

    def generate(
        self,
        prompt: Prompt | None = None,
        *,
        messages: Sequence[Message] | None = None,
        system: str = "vanilla",
        chat: bool = True,
        special_tokens: bool = False,
        seed: int = 0,
        trace: bool = False,
        **settings: Any,
    ) -> Generation:
        """Decode one prompt with a system; `settings` are those that `dllm-edge systems` lists for it."""
        request = self.request(self.encode(prompt, messages, chat, special_tokens), system, seed, trace, **settings)
        return self.decode([request])[0]

    def generate_batch(
        self,
        prompts: Sequence[Prompt],
        *,
        system: str = "vanilla",
        chat: bool = True,
        special_tokens: bool = False,
        seed: int = 0,
        trace: bool = False,
        max_batch: int = 8,
        **settings: Any,
    ) -> list[Generation]:
        """Decode several prompts together, at most `max_batch` at a time; the same results in the prompts' order."""
        if isinstance(prompts, str | bytes | Mapping) or not isinstance(prompts, Iterable):
            raise DllmEdgeError("a batch is a list of prompts: for one prompt use generate()")
        requests = [
            self.request(self.encode(prompt, chat=chat, special_tokens=special_tokens), system, seed, trace, **settings)
            for prompt in prompts
        ]
        return self.decode(requests, max_batch)

    def stream(
        self,
        prompt: Prompt | None = None,
        *,
        messages: Sequence[Message] | None = None,
        system: str = "vanilla",
        chat: bool = True,
        special_tokens: bool = False,
        seed: int = 0,
        **settings: Any,
    ) -> Generator[Event, None, None]:
        """Decode one prompt and yield each change of its canvas as it happens. Closing the iterator cancels."""
        request = self.request(self.encode(prompt, messages, chat, special_tokens), system, seed, **settings)
        check_served(self.engine, [request])
        return self._stream(request)

    def _stream(self, request: Request) -> Generator[Event, None, None]:
        tokens = request.canvas.tokens.copy()
        for event in self._scheduler().run([request]):
            if isinstance(event, Changed):
                tokens = event.change.applied_to(tokens, request.canvas.mask_token_id)
                yield _event(event, tokens.tolist())

    def request(self, prompt: Sequence[int], system: str, seed: int = 0, trace: bool = False, **settings: Any) -> Request:
        """Return a request for the scheduler: a prompt's ids followed by `gen_length` masks."""
        chosen = self.settings(system, **settings)
        canvas = Canvas.from_prompt(prompt, chosen.gen_length, self.config)
        return self._request(canvas, system, chosen, seed, trace)

    def infill(self, tokens: Sequence[int], system: str = "vanilla", seed: int = 0, **settings: Any) -> Generation:
        """Decode a canvas of given tokens and mask tokens, in any arrangement."""
        canvas = Canvas(tokens, self.config)
        settings = {"gen_length": canvas.stop - canvas.start, "block_length": 0, "early_stop": False, **settings}
        chosen = self.settings(system, **settings)
        return self.decode([self._request(canvas, system, chosen, seed)])[0]

    def _request(self, canvas: Canvas, system: str, settings: Settings, seed: int, trace: bool = False) -> Request:
        found = find_system(system)
        if found.guided:
            check_guide(self.guide, system, len(canvas))
        return Request(canvas, found, settings, seed, trace, tokens_of_guide=self.tokens_of_guide)

    def _scheduler(self, max_batch: int = 8) -> Scheduler:
        engines = {MAIN: self.engine} if self.guide is None else {MAIN: self.engine, GUIDE: self.guide.engine}
        return Scheduler(engines, max_batch)

    def decode(
        self, requests: Sequence[Request], max_batch: int = 8, watch: Callable[[SchedulerEvent], None] | None = None
    ) -> list[Generation]:
        """Run requests to their end; `watch` is called with each of the scheduler's events."""
        check_served(self.engine, requests)
        scheduler = self._scheduler(max_batch)
        ends: dict[int, Finished] = {}
        for event in scheduler.run(requests):
            if watch:
                watch(event)
            if isinstance(event, Finished):
                ends[id(event.request)] = event
        return [self._generation(ends[id(request)], scheduler) for request in requests]

    def _generation(self, end: Finished, scheduler: Scheduler) -> Generation:
        request, ids = end.request, end.request.canvas.generated.tolist()
        return Generation(
            text=self.tokenizer.decode(ids),
            token_ids=ids,
            canvas=request.canvas.tokens.tolist(),
            finish_reason=end.reason,
            system=request.system.name,
            settings=request.settings,
            forwards=end.forwards,
            refresh_forwards=end.refresh_forwards,
            rows_sent=end.rows_sent,
            seconds=end.seconds,
            engine_seconds=end.engine_seconds,
            steady_cache_bytes=scheduler.steady_cache_bytes,
            peak_cache_bytes=scheduler.peak_cache_bytes,
            trace=end.trace,
        )


def _prompt_ids(prompt: object, config: ModelConfig) -> list[int]:
    """Return the ids of a prompt that is no text."""
    if isinstance(prompt, Sequence) and prompt and isinstance(prompt[0], str):
        raise DllmEdgeError("the prompt is a list of texts: for several prompts use generate_batch()")
    if isinstance(prompt, Sequence) and prompt and isinstance(prompt[0], Mapping):
        raise DllmEdgeError("the prompt is a list of chat messages: give them as messages=")
    if not isinstance(prompt, Sequence | np.ndarray) or isinstance(prompt, bytes | bytearray):
        raise DllmEdgeError(f"the prompt is {shown(prompt)}; it must be text or a list of token ids")
    return [int(token) for token in token_ids(prompt, config)]


def _event(event: Changed, canvas: list[int]) -> Event:
    change = event.change
    positions = [] if isinstance(change, Truncation) else change.positions.tolist()
    confidences = change.confidences.tolist() if isinstance(change, Commit | Edit) else []
    return Event(
        event.forward, positions, [canvas[position] for position in positions], confidences, canvas, KINDS[type(change)]
    )


def _folder(bundle: object) -> Path:
    """Return the folder that a caller of `load` names."""
    if isinstance(bundle, str) and bundle == DEMO:
        return exported_demo()
    if bundle == "":
        raise DllmEdgeError("the bundle is an empty text: name its folder")
    if not isinstance(bundle, str | os.PathLike) or not isinstance(os.fspath(bundle), str):
        raise DllmEdgeError(f"the bundle is {shown(bundle)}; it must be a folder, as text or as a path")
    return Path(bundle)


def load(
    bundle: str | os.PathLike[str],
    *,
    engine: str = "onnxruntime",
    device: str | None = None,
    threads: int = 0,
    compute: str | None = None,
    guide: str | os.PathLike[str] | None = None,
) -> Model:
    """Open a bundle on an engine: `onnxruntime` on `cpu` (its default) or `cuda`; `tensorrt` or `tensorrt-rtx` on `cuda`.

    `threads` within an operator are the CPU's (0: all cores). `compute` is what graphs and caches compute in: by default
    float32 on a CPU, and what the bundle was exported for on a GPU. The text `demo` is the demo's bundle, where the command
    line keeps it (a folder of that name is `./demo`). `guide` is the bundle of a causal model, on the same engine, for systems
    that ask for one. Raises `DllmEdgeError` for what this machine lacks.
    """
    device = choose_device(engine, device)  # an unknown engine is refused before the bundle is read
    opened = Bundle.open(_folder(bundle))
    judging = None if guide is None else open_guide(_folder(guide), engine, device, threads, compute)
    return Model(opened, open_engine(opened, engine, device, threads, compute), judging)
