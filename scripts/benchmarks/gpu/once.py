"""One job in a process of its own: its result as JSON on the last line of stdout, or a line that says why there is none.

python -m dllm_edge.scripts.benchmarks.gpu.once JOB
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ....graphs.errors import DllmEdgeError
from ....runtime.bundle.bundle import Bundle
from ....runtime.bundle.manifest import CHAT_TEMPLATE
from ....runtime.bundle.tokenizer import BundleTokenizer
from ....runtime.engines.device.cuda import CudaDevice
from ....runtime.engines.device.engine import DeviceEngine
from ....runtime.engines.profiles import Workload
from ....runtime.evaluation.task import find_task
from ....runtime.generate import Model
from ....runtime.systems import SYSTEMS, fitting_systems
from ....runtime.systems.defaults import settings_of
from .about import about_device
from .bandwidth import measure_bandwidth
from .copies import time_copies
from .eager import check_torch, time_torch
from .engines import open_engine, with_block_steps
from .host import SETTINGS, SYSTEM, host_time
from .job import Job
from .recording import time_recording
from .steps import block_profile, time_steps

# Problems of the task level of parity, and so no fewer than the trajectory level decodes.
SAMPLES = 40


def step(job: Job) -> list[dict[str, Any]]:
    return time_steps(_timed_engine(job)[1], job.contexts)


def host(job: Job) -> dict[str, Any]:
    bundle, engine = _timed_engine(job)
    return host_time(bundle, engine, min(job.contexts))


def _timed_engine(job: Job) -> tuple[Bundle, DeviceEngine]:
    """Return the engine that serves both timed parts, so that it is built once."""
    bundle = Bundle.open(Path(job.bundle))
    blocks = Workload(tuple(block_profile(context) for context in job.contexts))
    uses = [(SYSTEMS[SYSTEM], settings_of(bundle, SYSTEM, SETTINGS))]
    workload = with_block_steps(bundle, uses, min(job.contexts), blocks)
    return bundle, open_engine(bundle, job.engine, job.compute, workload)


def parity(job: Job) -> dict[str, Any]:
    """Validate at all levels, with every system at the bundle's own lengths."""
    from ....export.parity.engine_pair import EnginePair
    from ....export.parity.validate import validate

    bundle = Bundle.open(Path(job.bundle))
    uses = [(system, settings_of(bundle, system.name, {})) for system in fitting_systems(bundle.config)]
    workload = with_block_steps(bundle, uses, longest_text(bundle), Workload(()))
    engine = open_engine(bundle, job.engine, job.compute, workload)
    skipped = {} if find_spec("polygraphy") else {"layers": "polygraphy is not installed"}
    return validate(EnginePair(Model(bundle, engine)), samples=SAMPLES, skipped=skipped).to_json()


def longest_text(bundle: Bundle) -> int:
    """Return the tokens of the longest prompt of the bundle's task and what follows it."""
    assert bundle.task
    tokenizer = BundleTokenizer(bundle.path, bundle.config, CHAT_TEMPLATE in bundle.manifest.files)
    texts = [problem.question for problem in find_task(bundle.task).prompts(SAMPLES)]
    templated = tokenizer.chat_template is not None
    if templated:
        texts = [tokenizer.chat([{"role": "user", "content": text}]) for text in texts]
    longest = max(len(tokenizer.encode(text, special_tokens=templated)) for text in texts)
    return longest + int(settings_of(bundle, SYSTEM, {}).gen_length)


def torch_module(job: Job) -> list[dict[str, Any]]:
    check_torch()
    config = Bundle.open(Path(job.bundle)).config
    return time_torch(config, job.compute, job.contexts, compiled=job.engine == "torch.compile")  # type: ignore[arg-type]


def attention(job: Job) -> list[dict[str, Any]]:
    from .attention_engines import measure_attention

    return measure_attention(job)


MEASURES: dict[str, Callable[[Job], Any]] = {
    "device": lambda _job: about_device(),
    "bandwidth": lambda _job: measure_bandwidth(),
    "copies": lambda _job: time_copies(CudaDevice()),
    "recording": lambda _job: time_recording(CudaDevice()),
    "parity": parity,
    "step": step,
    "host": host,
    "torch": torch_module,
    "attention": attention,
}


def main() -> None:
    job = Job.from_text(sys.argv[1])
    try:
        result = MEASURES[job.part](job)
    except DllmEdgeError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    print(json.dumps(result))


if __name__ == "__main__":
    main()
