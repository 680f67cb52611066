"""What `dllm-edge plan` is asked about: a device, decodes and weight formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from ....export.plan.decode import Decode
from ....export.plan.devices import CPU, describe_device
from ....export.plan.plan import decodes_of
from ....export.plan.target import Target, target_of
from ....export.plan.this_machine import this_machine
from ....graphs.config import ModelConfig
from ....graphs.weight_formats import WeightFormat, WeightFormats
from ....runtime.decoding.settings import BLOCK_LENGTH, GEN_LENGTH
from ....runtime.systems import fitting_systems
from ..terminal.options import parse_contexts, parse_systems

DEFAULT_GROUP = 32


@dataclass(frozen=True)
class TargetOptions:
    """A device, by its name or its figures, and what runs there."""

    device: Annotated[
        str | None, typer.Option(help="A device by name, --list-devices shows them; cpu: this machine.", show_default=False)
    ] = None
    list_devices: Annotated[bool, typer.Option("--list-devices", help="Show the known devices and their figures.")] = False
    memory: Annotated[float | None, typer.Option(help="Memory in GB, of another device.", show_default=False)] = None
    bandwidth: Annotated[float | None, typer.Option(help="Its bandwidth in GB/s.", show_default=False)] = None
    tflops: Annotated[float | None, typer.Option(help="Its dense float16 rate.", show_default=False)] = None
    engine: Annotated[
        str | None,
        typer.Option(
            help="tensorrt, or onnxruntime: a card's CUDA provider, else the CPU.",
            show_default="cpu: onnxruntime; else tensorrt",
        ),
    ] = None
    flavour: Annotated[
        str | None, typer.Option(help="fused or portable.", show_default="portable on an Orin (JetPack 6.2), else fused")
    ] = None

    def target(self, desktop: bool, swap: float) -> Target:
        """Return the device with its engine, with a desktop's memory or without, and `swap` GB."""
        device = describe_device(
            self.device,
            memory_gb=self.memory,
            bandwidth_gb=self.bandwidth,
            tflops=self.tflops,
            host=self.engine == "onnxruntime",
            found=this_machine(measure=self.bandwidth is None) if self.device == CPU else None,
        )
        return target_of(device, engine=self.engine, flavour=self.flavour, desktop=desktop, swap_gb=swap)


@dataclass(frozen=True)
class DecodeOptions:
    """Systems, and lengths in tokens."""

    systems: Annotated[
        str | None, typer.Option(help="Systems, separated by commas.", show_default="all that fit the model")
    ] = None
    context: Annotated[
        str | None, typer.Option(help="Tokens of prompt and generation, separated by commas.", show_default="2048")
    ] = None
    gen_length: Annotated[int, typer.Option(min=1, help="Tokens to generate.")] = GEN_LENGTH.default
    block_length: Annotated[int, typer.Option(min=0, help="Tokens of a block; 0: the whole generation.")] = BLOCK_LENGTH.default
    retention: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of the slots that an evicting system keeps.", show_default="the system's own"),
    ] = None
    batch: Annotated[int, typer.Option(min=1, max=10**6, help="Sequences decoded together.")] = 1

    def decodes(self, config: ModelConfig) -> list[Decode]:
        """Return a decode for each system at each context."""
        systems = [system.name for system in fitting_systems(config)] if self.systems is None else parse_systems(self.systems)
        like = Decode("", 0, self.gen_length, self.block_length, self.retention, self.batch)
        return decodes_of(systems, parse_contexts(self.context, config.max_positions), like)


@dataclass(frozen=True)
class FormatOptions:
    """Names of weight formats, and one group for all; None: the model's own."""

    weights: Annotated[
        str | None, typer.Option(help="Layers' weights: plain, int8 or int4.", show_default="the model's own")
    ] = None
    group: Annotated[
        int | None, typer.Option(help="Weights that share a scale: 32, 64 or 128.", show_default="the model's own, else 32")
    ] = None
    head_weights: Annotated[str | None, typer.Option(help="LM head: plain, int8 or int4.", show_default="the model's own")] = (
        None
    )
    embedding_weights: Annotated[str | None, typer.Option(help="Embedding: plain or int8.", show_default="the model's own")] = (
        None
    )

    def instead_of(self, own: WeightFormats) -> WeightFormats:
        """Return the model's own formats with those that are named in their place."""
        if self == FormatOptions():
            return own
        parts = ((self.weights, own.linear), (self.head_weights, own.head), (self.embedding_weights, own.embedding))
        groups = [each.group for _, each in parts if each.quantised]
        group = self.group if self.group is not None else groups[0] if groups else DEFAULT_GROUP
        return WeightFormats(*(WeightFormat.named(each.name if name is None else name, group) for name, each in parts))
