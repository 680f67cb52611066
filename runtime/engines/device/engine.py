"""The device loop: steps on a device, over caches that never leave it.

Only ids, masks and head outputs cross between host and device, each way in one copy through pinned memory; where the two
share their memory, in none. A refresh writes straight into the cache that it is bound to. A block step's copies and kernels
are recorded once, and replayed.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

from ....graphs import contract
from ....graphs.config import ModelConfig
from ....graphs.contract import Profile
from ....graphs.dtypes import DType
from ..base import Lanes, LoadedGraph, StepInputs, StepOutputs
from ..host import FIRST_NEW, FIRST_PAST, REUSE_LIMIT
from ..recently_used import RecentlyUsed
from ..sizes import Sizes
from .base import Device, Executor, Launch, RecordingError
from .caches import DeviceCaches
from .memory import DeviceCache, PinnedBuffers, lane_addresses, launch_key

# Launches that a profile keeps, by the caches that they are over: each that is recorded holds a context of its own.
LAUNCHES = 8


@dataclass
class Workspace:
    """What the steps of one profile share. `hidden` is a cache that no row sees, `rows` what no lane keeps."""

    inputs: PinnedBuffers
    outputs: PinnedBuffers
    step_inputs: StepInputs
    step_outputs: StepOutputs
    launches: RecentlyUsed[tuple[object, ...], Launch] = field(default_factory=lambda: RecentlyUsed(LAUNCHES))
    hidden: DeviceCache | None = None
    rows: DeviceCache | None = None


class DeviceEngine(DeviceCaches):
    """An `Engine` over a `Device` and an `Executor`. `records`: whether block steps are recorded."""

    def __init__(
        self,
        name: str,
        config: ModelConfig,
        cache_dtype: DType,
        candidates: int,
        device: Device,
        executor: Executor,
        sizes: Sizes,
    ) -> None:
        super().__init__(config, cache_dtype, device, executor, sizes)
        self.name, self.versions, self.records = name, executor.versions, executor.recordable
        self.input_specs = contract.inputs(config, cache_dtype)
        self.output_specs = contract.outputs(config, cache_dtype, candidates)
        self.workspaces: RecentlyUsed[Profile, Workspace] = RecentlyUsed(REUSE_LIMIT)

    def inputs(self, profile: Profile) -> StepInputs:
        return self.workspace(profile).step_inputs

    def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
        workspace = self.workspace(profile)
        new = bind or (self._own_rows(workspace, profile) if keep_rows else None)
        key = (launch_key(cache), launch_key(new))
        if launch := workspace.launches.get(key):
            launch()
        else:
            recorded = self.records and cache is not None and bind is None
            step = self._step(profile, workspace, cache, new, recorded)
            for _ in range(self.executor.warm_ups if recorded else 1):
                step()
            workspace.launches.put(key, self._recorded(step) if recorded else step)
        self.device.synchronise()
        self.kept_rows = new if keep_rows else None
        return workspace.step_outputs

    def loaded_step(self) -> LoadedGraph:
        return self.executor.loaded("step")

    def workspace(self, profile: Profile) -> Workspace:
        return self.workspaces.get_or_make(profile, lambda: self._new_workspace(profile))

    def _new_workspace(self, profile: Profile) -> Workspace:
        inputs = PinnedBuffers(self.device, self.input_specs[:FIRST_PAST], profile.sizes())
        outputs = PinnedBuffers(self.device, self.output_specs[:FIRST_NEW], profile.sizes())
        return Workspace(inputs, outputs, StepInputs(*inputs.arrays), StepOutputs(*outputs.arrays))

    def _own_rows(self, workspace: Workspace, profile: Profile) -> Lanes:
        workspace.rows = workspace.rows or self.new_cache(profile.batch, profile.queries)
        return Lanes(workspace.rows, 0, profile.batch)

    def _hidden_cache(self, workspace: Workspace, profile: Profile) -> Lanes:
        workspace.hidden = workspace.hidden or self.new_cache(profile.batch, profile.capacity)
        return Lanes(workspace.hidden, 0, profile.batch)

    def _step(self, profile: Profile, workspace: Workspace, cache: Lanes | None, new: Lanes | None, recorded: bool) -> Launch:
        """Return a launch of the step over `cache` that leaves its new keys and values in the lanes `new`, if there are any."""
        inputs, outputs = workspace.inputs, workspace.outputs
        past = cache or self._hidden_cache(workspace, profile)
        addresses = inputs.addresses | outputs.addresses
        addresses |= zip((spec.name for spec in self.input_specs[FIRST_PAST:]), lane_addresses(past), strict=True)
        if new:
            addresses |= zip((spec.name for spec in self.output_specs[FIRST_NEW:]), lane_addresses(new), strict=True)
        shapes = {spec.name: spec.shape(profile) for spec in self.input_specs}
        execute = self.executor.prepare("step", shapes, addresses, recorded)

        def step() -> None:
            inputs.upload()
            execute()
            outputs.download()

        return step

    def _recorded(self, step: Launch) -> Launch:
        try:
            return self.device.record(step)
        except RecordingError as reason:
            self.records = False
            warnings.warn(
                f"{self.device.name}: a step could not be recorded as a CUDA graph ({reason}), so each step launches its "
                "kernels one by one: results are the same, host time is longer",
                stacklevel=3,
            )
        return step
