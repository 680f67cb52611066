"""Diffusion language models as plain ONNX graphs, decoded by a light Python runtime."""

# As in `typing`, which would take a while to import: a command line is not to wait here, where it cannot catch an interrupt.
TYPE_CHECKING = False

__version__ = "0.1.0"
__all__ = ["DllmEdgeError", "Event", "Generation", "Model", "__version__", "load"]

if TYPE_CHECKING:
    from .graphs.errors import DllmEdgeError
    from .runtime.generate import Event, Generation, Model, load
else:

    def __getattr__(name: str) -> object:
        """Import a name when it is first asked for: the runtime takes half a second, which a command line need not wait for."""
        from importlib import import_module

        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = ".graphs.errors" if name == "DllmEdgeError" else ".runtime.generate"
        return getattr(import_module(module, __name__), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
