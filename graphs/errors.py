"""The one exception that users of `dllm_edge` meet."""


class DllmEdgeError(Exception):
    """A one-line statement of what is wrong, where, and what to do about it. The command line prints it and exits with 2."""
