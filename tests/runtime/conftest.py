"""The runtime's tests run without torch too (`.ci/other-pythons`); those that write checkpoints or ask transformers need it."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [] if find_spec("torch") else ["test_chat.py", "test_tokenizer.py"]
