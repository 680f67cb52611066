"""What the tokenizers library raises, as the one error that users meet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...graphs.errors import DllmEdgeError


@contextmanager
def reported(problem: str, remedy: str) -> Iterator[None]:
    """Raise whatever the tokenizers library raises as a `DllmEdgeError`: `problem`, the reason, `remedy`.

    It raises nothing narrower than `Exception`, and where its Rust code panics something that is none: a `PanicException`,
    which no module names.
    """
    try:
        yield
    except DllmEdgeError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error).split())
        raise DllmEdgeError(f"{problem} ({reason}): {remedy}") from error
