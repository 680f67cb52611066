"""Diffusion language models as plain ONNX graphs, decoded by a light Python runtime."""

from .graphs.errors import DllmEdgeError
from .runtime.generate import Event, Generation, Model, load

__version__ = "0.1.0"
__all__ = ["DllmEdgeError", "Event", "Generation", "Model", "__version__", "load"]
