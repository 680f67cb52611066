"""The child process that templates are rendered in, kept alive between prompts.

A sandbox keeps a template from files and objects, not from computing for ever or filling the memory, and some expressions
end the process they run in. So they run in one that may: it is started with the first prompt, sees Jinja and the standard
library alone, and ends with this process.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from time import monotonic

from ....graphs.errors import DllmEdgeError
from .limits import OUT_OF_MEMORY, Limits

START = "import sys; sys.path += sys.argv[2:]; from chat.worker import serve; serve(int(sys.argv[1]))"
CHUNK = 1 << 16


class StoppedError(Exception):
    """The process has ended, or was ended; the message says why."""


class TemplateProcess:
    """A child process that answers a question at a time, from any thread; it is started when it is asked."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._lock = Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def ask(self, question: bytes) -> bytes:
        """Return the answer to a line, as a line; raises `StoppedError` where a limit is reached."""
        with self._lock:
            try:
                return self._exchange(*self._running(), question)
            except BaseException:  # an answer that is still to come would be taken for that to the next question
                self.stop()
                raise

    def stop(self) -> None:
        """End the process, if it runs, and reap it; whoever waits for an answer gets `StoppedError`."""
        child, channel, self._child, self._channel = self._child, self._channel, None, None
        if channel is not None:
            channel.close()
        if child is not None:
            child.kill()
            child.wait()

    def forget(self) -> None:
        """Leave the process to the one that forked this one, which it belongs to."""
        if self._channel is not None:
            self._channel.close()
        if self._child is not None:
            self._child.returncode = 0  # it is not this process' child: there is nothing to wait for
        self._lock, self._child, self._channel = Lock(), None, None

    def _running(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """Return the process and the channel to it, started anew where it does not run."""
        if self._child is None or self._channel is None or self._child.poll() is not None:
            self.stop()
            self._child, self._channel = start(self.limits)
        return self._child, self._channel

    def _exchange(self, child: subprocess.Popen[bytes], channel: socket.socket, question: bytes) -> bytes:
        """Send the question and return the answer; raises `StoppedError`."""
        deadline, answer = monotonic() + self.limits.wall_seconds, bytearray()
        try:
            channel.settimeout(self.limits.wall_seconds)
            channel.sendall(question)
            while not answer.endswith(b"\n"):
                channel.settimeout(max(deadline - monotonic(), 1e-3))
                chunk = channel.recv(CHUNK)
                if not chunk:
                    raise StoppedError(self._cause(child))
                answer += chunk
        except TimeoutError as error:
            raise StoppedError(f"it takes longer than {self.limits.wall_seconds:g} seconds") from error
        except OSError as error:
            raise StoppedError(self._cause(child)) from error
        return bytes(answer)

    def _cause(self, child: subprocess.Popen[bytes]) -> str:
        """Return why the process has closed its end of the channel."""
        try:
            code = child.wait(timeout=self.limits.wall_seconds)
        except subprocess.TimeoutExpired:
            return "its process does not answer"
        if code == -signal.SIGXCPU:
            return f"it computes for longer than {self.limits.cpu_seconds} seconds"
        if code == OUT_OF_MEMORY:
            return f"it takes more than {self.limits.memory_bytes >> 20} MiB of memory"
        return f"its process ended with {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"


def start(limits: Limits) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a process; raises `DllmEdgeError` where that is impossible.

    It is in a session of its own, so that an interrupt from the terminal is this process' alone.
    """
    folders = [str(Path(__file__).parents[1]), *(folder_of(name) for name in ("jinja2", "markupsafe"))]
    command = [sys.executable, "-I", "-S", "-c", START, str(limits.memory_bytes), *folders]
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            end = theirs.fileno()
            child = subprocess.Popen(command, stdin=end, stdout=end, stderr=subprocess.DEVNULL, start_new_session=True, cwd="/")
    except OSError as error:
        ours.close()
        raise DllmEdgeError(
            f"{sys.executable or 'python'}: cannot be started to render the chat template ({error.strerror}): "
            "give a plain prompt (chat=False, --no-chat)"
        ) from error
    return child, ours


def folder_of(package: str) -> str:
    """Return the folder that an installed package is imported from, without importing it."""
    found = find_spec(package)
    if found is None or found.origin is None:
        raise DllmEdgeError(f"{package} is not installed: run 'pip install {package}'")
    return str(Path(found.origin).parents[1])


PROCESS = TemplateProcess(Limits())
atexit.register(PROCESS.stop)
os.register_at_fork(after_in_child=PROCESS.forget)
