from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import pytest

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.chat.limits import Limits
from dllm_edge.runtime.bundle.chat.process import TemplateProcess
from dllm_edge.runtime.bundle.chat.render import render

ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
ECHO = "{{ messages[0].content }}"
FAST = Limits(cpu_seconds=0, memory_bytes=128 << 20)
# What every script below begins with: `ask()` renders, `pid()` is the process that does.
PRELUDE = """
import os, sys
from dllm_edge.runtime.bundle.chat.process import PROCESS
from dllm_edge.runtime.bundle.chat.render import render
def ask(text="x"):
    return render("{{ messages[0].content }}!", [{"role": "user", "content": text}], {}, 100)
def pid():
    return PROCESS._child.pid
"""


@pytest.fixture
def process() -> Iterator[TemplateProcess]:
    started = TemplateProcess(FAST)
    yield started
    started.stop()


def ask(process: TemplateProcess, template: str = ECHO, content: str = "x") -> str:
    return render(template, [{"role": "user", "content": content}], {}, 4096, process)


def pid_of(process: TemplateProcess) -> int:
    assert process._child is not None
    return process._child.pid


def is_gone(pid: int) -> bool:
    """Return whether there is no such process within some seconds, not even one that nobody reaped."""
    end = monotonic() + 10
    while monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        sleep(0.02)
    return False


def run(script: str, shell: str = 'exec "$@"') -> str:
    """Return what a Python script after `PRELUDE` prints, started by a line of `shell`."""
    command = ["/bin/sh", "-c", shell, "sh", sys.executable, "-W", "error", "-c", PRELUDE + script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% set b = 9**9 %}{{ 9**b }}", "it computes for longer than 0 seconds"),
        (ENDLESS, "it computes for longer than 0 seconds"),
        ("{{ ('a\n' * 1000) | indent(999999) }}", "it takes more than 128 MiB of memory"),
        ("{{ [[[[1]]]] | tojson(indent=99999999) }}", "it takes more than 128 MiB of memory"),
        ("{{ 'x' * 10**10 }}", "it takes more than 128 MiB of memory"),
        ("{{ (1,) * 10**9 }}", "it takes more than 128 MiB of memory"),
        ("{{ '%1000000000d' % 1 }}", "it takes more than 128 MiB of memory"),
        ("{% set x = 'x' * 10**7 %}{% set y = x * 100 %}{{ y | length }}", "it takes more than 128 MiB of memory"),
        ("{% for i in range(99999) %}{% for j in range(99999) %}text{% endfor %}{% endfor %}", "more than 4,096 characters"),
        ("{{ 'a\nb' | indent(999999) }}", "more than 4,096 characters"),
        ("{% macro f() %}{% for i in range(9) %}{{ f() }}{% endfor %}{% endmacro %}{{ f() }}", "RecursionError"),
        ("{{" + "(" * 10_000 + "1" + ")" * 10_000 + "}}", "RecursionError"),
        ("{{ raise_exception('x' * 10**6) }}", "TemplateError: xxx"),
        ("{{ raise_exception('\x1b[2J') }}", r"TemplateError: \?\[2J"),
    ],
)
def test_a_template_that_takes_too_much_ends_in_one_line(process: TemplateProcess, template: str, reason: str) -> None:
    with pytest.raises(
        DllmEdgeError, match=rf"^the chat template cannot be rendered for these messages \(.*{reason}"
    ) as caught:
        ask(process, template)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert ask(process) == "x"


def test_waiting_has_an_end_too(process: TemplateProcess) -> None:
    assert ask(process) == "x"
    first = pid_of(process)
    process.limits = replace(FAST, cpu_seconds=30, wall_seconds=0.2)
    with pytest.raises(DllmEdgeError, match=r"it takes longer than 0\.2 seconds"):
        ask(process, ENDLESS)
    process.limits = FAST
    assert is_gone(first)
    assert ask(process, content="next") == "next"


def test_the_process_is_kept_and_started_again_once_it_ended(process: TemplateProcess) -> None:
    ask(process)
    first = pid_of(process)
    ask(process)
    assert pid_of(process) == first
    os.kill(first, signal.SIGKILL)
    assert process._child is not None
    process._child.wait()
    assert ask(process, content="again") == "again"
    assert pid_of(process) != first


def test_one_that_dies_while_it_renders_is_named_and_reaped(process: TemplateProcess) -> None:
    ask(process)
    first = pid_of(process)
    process.limits = replace(FAST, cpu_seconds=30)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, process, ENDLESS)
        sleep(0.1)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(DllmEdgeError, match="its process ended with SIGKILL"):
            waiting.result()
    assert is_gone(first)


def test_threads_get_their_own_answers(process: TemplateProcess) -> None:
    texts = [f"text {index}" * 500 for index in range(40)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda text: render(ECHO, [{"role": "user", "content": text}], {}, 9999, process), texts))
    assert answers == texts


def test_after_an_interrupt_the_next_prompt_gets_its_own_answer(process: TemplateProcess) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    ask(process)
    first, before = pid_of(process), signal.signal(signal.SIGALRM, interrupt)
    process.limits = replace(FAST, cpu_seconds=1)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            ask(process, ENDLESS)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert ask(process, content="next") == "next"
    assert is_gone(first)


def test_it_is_in_a_session_of_its_own(process: TemplateProcess) -> None:
    ask(process)
    assert os.getsid(pid_of(process)) == pid_of(process) != os.getsid(0)


def test_a_python_that_does_not_start(process: TemplateProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    opened = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(DllmEdgeError, match=r"^/nowhere/python: cannot be started .*No such file or directory") as caught:
        ask(process)
    assert sorted(os.listdir("/proc/self/fd")) == opened, f"while {caught} still holds what the failing call had"
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(DllmEdgeError, match="its process ended with exit code 1"):
        ask(process)


def test_what_fails_before_it_is_started_leaves_nothing_open(process: TemplateProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = sorted(os.listdir("/proc/self/fd"))
    monkeypatch.setattr("dllm_edge.runtime.bundle.chat.process.find_spec", lambda _name: None)
    with pytest.raises(DllmEdgeError) as caught:
        ask(process)
    # The error holds all that was there when it was raised.
    assert str(caught.value) == "jinja2 is not installed: run 'pip install jinja2'"
    assert sorted(os.listdir("/proc/self/fd")) == opened


@pytest.mark.parametrize("closed", ["<&-", "<&- >&- 2>&-"])
def test_standard_streams_may_be_closed(closed: str, tmp_path: Path) -> None:
    done = tmp_path / "done"
    run(f"assert ask() == 'x!'; open({str(done)!r}, 'w').close()", f'exec "$@" {closed}')
    assert done.exists()


@pytest.mark.parametrize("end", ["", "sys.stdout.flush(); os._exit(0)", "sys.stdout.flush(); os.kill(os.getpid(), 9)"])
def test_it_ends_with_this_process(end: str) -> None:
    assert is_gone(int(run(f"ask(); print(pid()); {end}")))


def test_this_process_never_imports_jinja() -> None:
    assert run("ask(); print('jinja2' in sys.modules)") == "False\n"


FORK = """
ask(); first = pid(); sys.stdout.flush()
PROCESS._lock.acquire()  # as if another thread were waiting for an answer
child = os.fork()
if child == 0:
    assert ask("child") == "child!" and pid() != first
    print("child", pid(), flush=True)
    os._exit(0)
PROCESS._lock.release()
os.waitpid(child, 0)
assert ask("parent") == "parent!" and pid() == first
print("parent", first)
"""


def test_a_fork_gets_a_process_of_its_own() -> None:
    lines = run(FORK).split()
    assert lines[0] == "child"
    assert lines[2] == "parent"
    assert is_gone(int(lines[1]))
    assert is_gone(int(lines[3]))


def test_a_prompt_under_way_does_not_hold_the_exit_up() -> None:
    script = f"""
import threading
ask()
def endless():
    try:
        render({ENDLESS!r}, [{{"role": "user", "content": ""}}], {{}}, 100)
    except Exception: pass
threading.Thread(target=endless, daemon=True).start()
import time; time.sleep(0.1); print(pid())
"""
    begin = monotonic()
    assert is_gone(int(run(script)))
    assert monotonic() - begin < FAST.wall_seconds
