"""The arrays that pass between the parts of the runtime. Docstrings give their shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
ByteArray = NDArray[np.uint8]
Array = NDArray[Any]
"""An array whose dtype is known at run time alone, or that numpy has no name for."""
