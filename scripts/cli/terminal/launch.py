"""Running a command line: users' errors become one line on stderr and exit code 2."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import Any, NoReturn

import typer

from ....graphs.errors import DllmEdgeError
from ....graphs.whole_file import FULL
from .option_groups import expand_groups
from .signals import INTERRUPTED, Ended, say_ending, unwinding

# Newer Typers bring a Click of their own, older ones use the installed one: this base of a public class is either's.
USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]


def new_app(**options: Any) -> typer.Typer:
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False, **options)


def app_of(command: Callable[..., None], **options: Any) -> typer.Typer:
    """Return an app of one command, whose dataclasses are options each; `options` are Typer's of a command."""
    app = new_app()
    app.command(**options)(expand_groups(command))
    return app


def launch_command(command: Callable[..., None]) -> NoReturn:
    """Run a module of one command, with the process' own arguments."""
    launch(app_of(command), sys.argv[1:])


def launch(app: typer.Typer, arguments: Sequence[str]) -> NoReturn:
    """Run `arguments` and exit: 0, 1 where a command found a fault, 2 for bad input, 3 where a plan does not fit, 130 for an
    interrupt, 143 where the process was told to end."""
    warnings.showwarning = _warn  # type: ignore[assignment]
    if isinstance(sys.stdout, TextIOWrapper):
        # Names of files need not be text, nor texts of JSON encodable: neither ends a command that has done its work.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with unwinding():
            code = _run(app, arguments)
    except (Ended, KeyboardInterrupt) as end:
        code = end.code if isinstance(end, Ended) else INTERRUPTED
    say_ending(code)
    raise SystemExit(code)


def _run(app: typer.Typer, arguments: Sequence[str]) -> Any:
    """Return the exit code of a command; what is wrong with its input is printed, and raises `SystemExit`."""
    try:
        return app(args=list(arguments), standalone_mode=False)
    except DllmEdgeError as error:
        fail(str(error))
    except USAGE_ERROR as error:
        usage = f"{error.format_message()} (see --help)"  # type: ignore[attr-defined]
        fail(usage)
    except typer.Abort:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read stdout has gone; without this, flushing it at exit would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        fail(_reason(error))


def _reason(error: OSError) -> str:
    if error.errno in FULL:
        # What writes a file names it.
        return f"{error.filename or 'standard output'}: {error.strerror}: make room and run it again"
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


def _warn(message: Warning | str, *_: object) -> None:
    """Print a warning as one line, without the line of code that gave it."""
    print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)


def fail(message: str) -> NoReturn:
    """Print an error as one line, and exit with 2."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(2)
