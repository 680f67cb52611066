"""Engine folders whose fingerprint says something else: each is found or left alone, and none breaks what else is there."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.engines.tensorrt.engine_folder import engines_of
from dllm_edge.runtime.engines.tensorrt.fingerprint import FINGERPRINT

from ..runtime.engines.tensorrt.engine_files import add_engine, small_bundle
from .budget import examples
from .damage import damaged_bytes, damaged_json, dumped
from .running import no_hang


@given(st.data())
@examples(60)
def test_fingerprints(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder, no_hang():
        bundle = small_bundle(Path(folder))
        sound, damaged = add_engine(bundle), add_engine(bundle, version="10.3.0")
        file = damaged.path / FINGERPRINT
        content = file.read_bytes()
        if data.draw(st.booleans()):
            file.write_bytes(dumped(data.draw(damaged_json(json.loads(content)))))
        else:
            file.write_bytes(data.draw(damaged_bytes(content)))
        try:
            found = engines_of(bundle)
        except DllmEdgeError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert sound.path in [engine.path for engine in found]
            json.dumps([engine.fingerprint.to_json() for engine in found], allow_nan=False)
