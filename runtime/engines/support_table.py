"""The one table of what engines take, and how far that is known; `docs/support.md` says the same, and a test compares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ...graphs.contract import Flavour
from ...graphs.weight_formats import GROUPS

Level = Literal["run", "built", "expected", "unknown", "refused"]
"""From decoded with on that hardware, over compiled for it, and expected by documents, down to what is known not to work."""
Version = tuple[int, int]
"""The first two numbers of a version, or a compute capability."""


@dataclass(frozen=True)
class Known:
    """How far something is known to be taken; for what is unknown or refused why, and what to take `instead`."""

    level: Level
    why: str = ""
    instead: str = ""


@dataclass(frozen=True)
class EngineRow:
    """What one engine takes from version `first` to before `before`.

    `level` is that of plain weights in each of `flavours`, with every dtype; bfloat16 has it `bfloat16_from` that compute
    capability on. `integers` are weight formats of linear layers and LM head, by name and group; an int8 embedding is read
    by operators that every flavour has. `capabilities` are the compute capabilities that it runs on (None: no matter of
    the engine's), with `later` those after them, too; `others` says why no more. On the `unbuilt`
    nothing is more than expected.
    """

    engine: str
    title: str
    first: Version
    before: Version | None
    level: Level
    flavours: tuple[Flavour, ...]
    integers: Mapping[tuple[str, int], Known]
    capabilities: tuple[Version, ...] | None = None
    unbuilt: tuple[Version, ...] = ()
    later: bool = False
    others: Known = Known("refused")
    bfloat16_from: Version = (0, 0)

    def level_on(self, capability: Version) -> Level:
        """Return the level of plain weights on GPUs of a compute capability that it runs on."""
        return "expected" if capability in self.unbuilt else self.level

    def runs_on(self, capability: Version) -> bool:
        """Return whether it runs on GPUs of this compute capability, as far as it takes them at all."""
        listed = self.capabilities
        return listed is None or capability in listed or (self.later and capability > max(listed))


def _integers(int8: Known, int4: Known, small_int4: Known | None = None) -> dict[tuple[str, int], Known]:
    """Return what is known of each format and group; `small_int4` is that of int4 in the smallest groups."""
    narrow = {("int4", group): int4 for group in GROUPS} | {("int4", min(GROUPS)): small_int4 or int4}
    return {("int8", group): int8 for group in GROUPS} | narrow


def _tensorrt(
    title: str, first: Version, before: Version | None, flavours: tuple[Flavour, ...], integers: Mapping[tuple[str, int], Known]
) -> EngineRow:
    """Return the row of some releases of TensorRT, which all take the same GPUs."""
    others = Known("refused", "it is for compute capability 7.5 and later", "--engine onnxruntime --device cuda")
    return EngineRow("tensorrt", title, first, before, "expected", flavours, integers, ((7, 5),), (), True, others, (8, 0))


RUN, BUILT, EXPECTED = Known("run"), Known("built"), Known("expected")
UNTRIED = Known("unknown", "nobody has tried it there")
SMALL_GROUP = Known("unknown", "groups of 64 and 128 are what is expected there", "--group 64")
# A blocked DequantizeLinear came with opset 21; the table of operators of TensorRT 10.3's parser ends with opset 20.
BLOCKED = Known("refused", "int8 in groups is newer than TensorRT 10.3", "--weights int4, or JetPack 7.2 and --flavour fused")
# Its makers' list has neither data-center GPUs of 8.0 and 9.0 nor Jetsons. Its builder takes 8.0, and 7.5 by name, for which
# it has no float32 products, which every step needs.
RTX: tuple[Version, ...] = ((8, 6), (8, 9), (12, 0), (12, 1))
RTX_UNBUILT: tuple[Version, ...] = ((12, 1),)
NOT_RTX = Known("refused", "TensorRT-RTX is not made for it", "--runtime tensorrt, or --engine onnxruntime --device cuda")
BOTH: tuple[Flavour, ...] = ("fused", "portable")
PORTABLE: tuple[Flavour, ...] = ("portable",)
ON_RTX = _integers(BUILT, BUILT)
ON_ARM = ON_CUDA = _integers(EXPECTED, EXPECTED)

TABLE: tuple[EngineRow, ...] = (
    EngineRow("onnxruntime-x86_64", "ONNX Runtime on x86-64", (1, 24), None, "run", BOTH, _integers(RUN, RUN)),
    EngineRow("onnxruntime-x86_64", "ONNX Runtime 1.23 on x86-64", (1, 23), (1, 24), "run", PORTABLE, _integers(RUN, RUN)),
    EngineRow("onnxruntime-aarch64", "ONNX Runtime on aarch64", (1, 24), None, "expected", BOTH, ON_ARM),
    EngineRow("onnxruntime-aarch64", "ONNX Runtime 1.23 on aarch64", (1, 23), (1, 24), "expected", PORTABLE, ON_ARM),
    EngineRow("onnxruntime-cuda", "ONNX Runtime's CUDA provider", (1, 24), None, "expected", BOTH, ON_CUDA),
    EngineRow("tensorrt-rtx", "TensorRT-RTX", (1, 0), None, "built", BOTH, ON_RTX, RTX, RTX_UNBUILT, others=NOT_RTX),
    _tensorrt("TensorRT 10.15 and later", (10, 15), None, BOTH, _integers(UNTRIED, EXPECTED, SMALL_GROUP)),
    _tensorrt("TensorRT 10.4 to 10.14", (10, 4), (10, 15), PORTABLE, _integers(UNTRIED, EXPECTED, SMALL_GROUP)),
    _tensorrt("TensorRT 10.3", (10, 3), (10, 4), PORTABLE, _integers(BLOCKED, UNTRIED)),
)
