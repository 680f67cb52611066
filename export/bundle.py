"""Checkpoint to bundle: everything is written beside the bundle's path and moved there at the end."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from ..graphs.config import ModelConfig
from ..graphs.contract import CACHE_OPERATIONS, Flavour, top_k
from ..graphs.dtypes import DType, parse_dtype
from ..graphs.errors import DllmEdgeError, unknown
from ..graphs.families import default_dtype
from ..graphs.weight_formats import WeightFormat, WeightFormats, weight_bytes
from ..graphs.whole_file import write_json, write_whole
from ..runtime.bundle.bundle import Bundle
from ..runtime.bundle.decoding_defaults import read_defaults
from ..runtime.bundle.manifest import CHAT_TEMPLATE, DECODING, MANIFEST, TOKENIZER, FileRecord, GraphFile, Manifest
from ..runtime.bundle.verified import remember, sha256_of
from ..runtime.systems.defaults import check_defaults
from .checkpoint.checkpoint import Checkpoint
from .checkpoint.tokenizer import tokenizer_of, undefined_ids
from .checkpoint.tokenizer_trial import try_tokenizer
from .json_file import read_object
from .onnx.cache_operations import operation_file, write_operation
from .onnx.step_graph import StepGraph, opset_of, write_step
from .onnx.trace import OPSETS
from .staging import check_space, staged
from .weights.quantiser import ROUND_TO_NEAREST, Quantiser
from .weights.report import WEIGHT_REPORT, weight_report
from .weights.writer import Weights, link_weights, write_weights

FLOAT32: DType = "float32"
FLAVOURS: dict[str, tuple[Flavour, ...]] = {"both": ("fused", "portable"), "fused": ("fused",), "portable": ("portable",)}
# Room for graphs and tokenizer beside the weights.
MARGIN = 64 << 20
TOOLS = ("dllm-edge", "torch", "onnx", "onnx_ir", "onnxscript", "safetensors", "tokenizers")
# Stage ("weights", "graphs"), and the fraction of it that is done.
Progress = Callable[[str, float], None]


def export_bundle(
    checkpoint_folder: Path,
    bundle_path: Path,
    *,
    flavour: str = "both",
    dtype: str = "auto",
    weights: str = "plain",
    group: int = 32,
    head_weights: str = "plain",
    embedding_weights: str = "plain",
    quantiser: Quantiser = ROUND_TO_NEAREST,
    lora: Path | None = None,
    link: bool = False,
    overwrite: bool = False,
    allow_nonfinite: bool = False,
    join: bool | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """Export a Hugging Face folder to a new bundle and open it.

    `flavour` is `both`, `fused` or `portable`; `dtype` is what weights are stored and graphs compute in: `auto`, `float32`,
    `float16` or `bfloat16`; `weights` is how the layers' linear weights are stored, `plain` (as `dtype`), `int8` or `int4`
    in groups of `group` inputs, `head_weights` and `embedding_weights` the same of the LM head and the embedding
    (`graphs.weight_formats`); `quantiser` chooses their integers and scales; `lora` is a PEFT adapter's folder, merged;
    `link` hard-links the checkpoint's files instead of writing the weights again; `overwrite` replaces a bundle that is
    there, once the new one is complete; `allow_nonfinite` exports NaN and infinity, which are refused otherwise; `join` stores
    weights of the same input as one (`graphs.joined_weights`), which linked ones never are, and int8 ones only if it is True.

    Raises `DllmEdgeError` for whatever is wrong with the checkpoint, the options or the path; nothing is left behind then.
    """
    progress = progress or (lambda _stage, _fraction: None)
    if flavour not in FLAVOURS:
        raise unknown("flavour", flavour, FLAVOURS)
    checkpoint = replace(Checkpoint.open(Path(checkpoint_folder), lora), allow_nonfinite=allow_nonfinite)
    stored_dtype = _stored_dtype(dtype, checkpoint)
    formats = WeightFormats(*(WeightFormat.named(name, group) for name in (weights, head_weights, embedding_weights)))
    _check_formats(formats, checkpoint, link)
    tokenizer, template = tokenizer_of(Path(checkpoint_folder))
    forbidden = _forbidden(checkpoint, tokenizer)
    try_tokenizer(tokenizer, checkpoint.config, checkpoint.folder / TOKENIZER)
    with staged(Path(bundle_path), overwrite) as folder:
        linkable = not (link or formats.quantised or lora) and stored_dtype == checkpoint.dtype
        same_disk = folder.stat().st_dev == checkpoint.folder.stat().st_dev
        needed = MARGIN + (0 if link else weight_bytes(checkpoint.config, stored_dtype, formats))
        check_space(folder, needed, ", or use --link" if linkable and same_disk else "")
        joined = not link and (formats.linear.name != "int8" if join is None else join)
        written = _write_weights(checkpoint, folder, stored_dtype, formats, quantiser, link, joined, progress)
        _write_side_files(checkpoint, folder, tokenizer, template)
        steps = _steps(checkpoint.config, forbidden, FLAVOURS[flavour], stored_dtype, formats, joined)
        graphs = _write_graphs(folder, steps, written, progress)
        manifest = Manifest(
            family=checkpoint.family.name,
            config=checkpoint.config,
            forbidden=forbidden,
            candidates=top_k(checkpoint.config, len(forbidden)),
            stored=stored_dtype,
            compute=stored_dtype,
            graphs={"step": graphs} | _write_operations(checkpoint.config, folder, stored_dtype),
            tools={"python": platform.python_version()} | {tool: version(tool) for tool in TOOLS},
            files=written.files | _records(folder),
            weights=formats,
            joined=joined,
        )
        (folder / "reports").mkdir()
        if written.errors:
            report = weight_report(written.errors, formats)
            write_json(folder / WEIGHT_REPORT, report, durable=False)
        write_json(folder / MANIFEST, manifest.to_json(), durable=False)
        for name, record in written.files.items():
            remember((folder / name).stat(), record.sha256)
    return Bundle.open(Path(bundle_path))


def _stored_dtype(dtype: str, checkpoint: Checkpoint) -> DType:
    return parse_dtype(default_dtype(checkpoint.family, checkpoint.dtype) if dtype == "auto" else dtype, besides=("auto",))


def _check_formats(formats: WeightFormats, checkpoint: Checkpoint, link: bool) -> None:
    if formats.quantised and link:
        raise DllmEdgeError("--link and quantised weights do not go together: a checkpoint's files hold none, leave out --link")
    formats.check(checkpoint.config)


def _write_weights(
    checkpoint: Checkpoint,
    folder: Path,
    stored_dtype: DType,
    formats: WeightFormats,
    quantiser: Quantiser,
    link: bool,
    joined: bool,
    progress: Progress,
) -> Weights:
    def share_written(fraction: float) -> None:
        progress("weights", fraction)

    if link:
        return link_weights(checkpoint, folder, stored_dtype, share_written)
    return write_weights(checkpoint, folder, stored_dtype, share_written, formats, quantiser=quantiser, joined=joined)


def _forbidden(checkpoint: Checkpoint, tokenizer: Tokenizer) -> tuple[int, ...]:
    mask, vocabulary = checkpoint.config.mask_token_id, checkpoint.config.vocab_size
    forbidden = {*undefined_ids(tokenizer, checkpoint.config), *(() if mask is None else (mask,))}
    if len(forbidden) == vocabulary:
        raise DllmEdgeError(
            f"{checkpoint.folder}: the tokenizer defines none of the model's {vocabulary} ids: it is another model's"
        )
    return tuple(sorted(forbidden))


def _steps(
    config: ModelConfig,
    forbidden: tuple[int, ...],
    flavours: tuple[Flavour, ...],
    stored_dtype: DType,
    formats: WeightFormats,
    joined: bool,
) -> list[StepGraph]:
    """Return a graph of each flavour, and its float32-compute twin where it computes in another dtype itself."""
    wanted = [(flavour, compute_dtype) for flavour in flavours for compute_dtype in dict.fromkeys((stored_dtype, FLOAT32))]
    return [
        StepGraph(config, forbidden, flavour, stored_dtype, compute_dtype, formats, joined) for flavour, compute_dtype in wanted
    ]


def _write_graphs(folder: Path, steps: Sequence[StepGraph], weights: Weights, progress: Progress) -> list[GraphFile]:
    graphs = []
    for index, step in enumerate(steps):
        progress("graphs", index / len(steps))
        file = graph_file(step.flavour, step.compute_dtype if step.compute_dtype != step.stored_dtype else None)
        write_step(folder / file, step, weights.locations)
        graphs.append(GraphFile(file, step.flavour, step.compute_dtype, opset_of(step.flavour, step.formats)))
    progress("graphs", 1.0)
    return graphs


def _write_operations(config: ModelConfig, folder: Path, stored_dtype: DType) -> dict[str, list[GraphFile]]:
    """Write the cache operations, over caches of the dtype that the graphs compute in, and over those of their twins."""
    written: dict[str, list[GraphFile]] = {name: [] for name in CACHE_OPERATIONS}
    for name, graphs in written.items():
        for cache_dtype in dict.fromkeys((stored_dtype, FLOAT32)):
            file = operation_file(name, cache_dtype if cache_dtype != stored_dtype else None)
            write_operation(folder / file, name, config, cache_dtype)
            graphs.append(GraphFile(file, "portable", cache_dtype, OPSETS["portable"]))
    return written


def graph_file(flavour: Flavour, twin: DType | None = None) -> str:
    """Return `step.onnx` or `step.portable.onnx`, and with `.float32` for the twin that computes in it."""
    return ".".join(["step", *(["portable"] if flavour == "portable" else []), *([twin] if twin else []), "onnx"])


def _write_side_files(checkpoint: Checkpoint, folder: Path, tokenizer: Tokenizer, template: str | None) -> None:
    write_whole(folder / TOKENIZER, tokenizer.to_str(pretty=True), durable=False)
    if template is not None:
        write_whole(folder / CHAT_TEMPLATE, template, durable=False)
    write_json(folder / DECODING, _decoding(checkpoint), durable=False)


def _decoding(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the `decoding.json` of the checkpoint's folder, if it has one, over the settings that the family's authors use."""
    file = checkpoint.folder / DECODING
    own = read_object(file) if file.is_file() else {}
    try:
        own = read_defaults(own)
        check_defaults(own)
    except DllmEdgeError as error:
        raise DllmEdgeError(f"{file}: {error}: mend the file, or remove it") from error
    defaults, systems = own["defaults"], own["systems"]
    authors = checkpoint.family.decoding_defaults(checkpoint.config)
    vanilla = {name: value for name, value in authors.items() if name not in defaults} | systems.get("vanilla", {})
    return own | {"defaults": defaults, "systems": systems | {"vanilla": vanilla}}


def _records(folder: Path) -> dict[str, FileRecord]:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return {path.name: FileRecord(sha256_of(path), path.stat().st_size) for path in files}
