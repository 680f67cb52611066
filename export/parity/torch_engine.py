"""The torch step module behind the engine protocol: the reference that parity holds every engine against."""

from __future__ import annotations

import numpy as np
import torch

from ...graphs.contract import Profile
from ...graphs.modules.step import StepModule
from ...runtime.engines.base import Lanes, StepOutputs
from ...runtime.engines.host import FIRST_NEW, FIRST_PAST, HostCaches, arrays, lane_tensors


class TorchEngine(HostCaches):
    """Runs a `StepModule` of float32 compute in eager mode."""

    name = "torch"

    def __init__(self, step: StepModule) -> None:
        super().__init__(step.transformer.config, "float32", step.head.candidates)
        self.step, self.versions = step, {"torch": torch.__version__}

    @torch.inference_mode()
    def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
        workspace = self.workspace(profile)
        past = lane_tensors(cache) if cache else self.buffers(self.input_specs[FIRST_PAST:], profile)
        results = self.step(*(torch.from_numpy(array) for array in [*arrays(workspace.inputs), *past]))
        new = [result.numpy() for result in results[FIRST_NEW:]]
        for target, result in zip(arrays(workspace.outputs), results[:FIRST_NEW], strict=True):
            np.copyto(target, result.numpy())
        for target, array in zip(lane_tensors(bind) if bind else [], new, strict=False):
            np.copyto(target, array)
        self.kept_rows = new if keep_rows else []
        return workspace.outputs
