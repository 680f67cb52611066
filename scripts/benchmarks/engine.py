"""Time, memory and size of building a TensorRT-RTX engine, which needs no GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...export.bundle import export_bundle
from ...runtime.bundle.bundle import WEIGHTS
from ..checkpoints.random_llada import write_random
from . import build_once
from .finding import Finding, Part
from .setup import Progress, Setup

TARGET, CONTEXT = "sm86", 2048
# Fast-dLLM v2 1.5B, which has Qwen2's architecture.
SHAPE: dict[str, Any] = {
    "architectures": ["Fast_dLLM_QwenForCausalLM"],
    "model_type": "Fast_dLLM_Qwen",
    "bd_size": 32,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "mask_token_id": 151665,
    "hidden_act": "silu",
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "use_sliding_window": False,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "vocab_size": 151936,
}


def measure_engine(setup: Setup, progress: Progress) -> Part:
    """Build the 1.5B shape, random bfloat16 weights, for one GPU with the profiles of a dual cache's decode."""
    part = Part("engine", f"TensorRT-RTX engine of the 1.5B shape for {TARGET}, two profiles at {CONTEXT}")
    if find_spec("tensorrt_rtx") is None:
        part.title += ": not measured, tensorrt-rtx is not installed"
        return part
    checkpoint, path = Path(setup.folder.name) / "qwen", Path(setup.folder.name) / "qwen.bundle"
    write_random(checkpoint, SHAPE, shards=1)
    progress(0.1)
    bundle = export_bundle(checkpoint, path, flavour="fused", link=True)
    progress(0.3)
    command = [sys.executable, "-m", build_once.__name__, str(path), TARGET, str(CONTEXT)]
    measured = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    weights = sum(record.size for name, record in bundle.manifest.files.items() if name.startswith(WEIGHTS))
    part.findings = [
        Finding("weights", weights, f"{weights / 1e9:.2f} GB"),
        Finding("build", measured["seconds"], f"{measured['seconds']:.0f} s"),
        Finding("peak resident memory", measured["peak_resident_bytes"], f"{measured['peak_resident_bytes'] / 1e9:.2f} GB"),
        Finding(
            "peak memory / weights",
            measured["peak_resident_bytes"] / weights,
            f"{measured['peak_resident_bytes'] / weights:.2f}x",
        ),
        Finding("plan / weights", measured["plan_bytes"] / weights, f"{measured['plan_bytes'] / weights:.2f}x"),
    ]
    part.data = {**measured, "weight_bytes": weights, "target": TARGET, "context": CONTEXT}
    return part
