"""A paused terminal or an unread pipe delays neither trading nor the end of a run."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from kamou.commands import paused_terminal
from kamou.commands.paused_terminal import BackgroundLines

WITHIN_S = 60.0  # much longer than any wait in these tests
BLOCKED = """
import sys
from kamou.runtime.watchdog import {kind}
dog = {kind}({seconds}=1, stream=sys.__stderr__, wait=lambda seconds: False)
dog.watch()
"""


@pytest.fixture
def full_pipe() -> Iterator[int]:
    """Yield the writing end of a full pipe."""
    reader, writer = os.pipe()
    with closing(os.fdopen(reader, "rb")), closing(os.fdopen(writer, "wb", buffering=0)):
        os.set_blocking(writer, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 4_096)
        with suppress(BlockingIOError):
            while True:
                os.write(writer, b"x")
        os.set_blocking(writer, True)
        yield writer


@pytest.mark.parametrize(
    ("kind", "seconds"), [("Watchdog", "heartbeat_s"), ("StopDeadline", "grace_s")]
)
def test_watchdog_and_stop_deadline_end_a_process_whose_output_is_not_read(
    full_pipe: int, kind: str, seconds: str
) -> None:
    code = BLOCKED.format(kind=kind, seconds=seconds)
    ended = subprocess.run(
        [sys.executable, "-c", code], stderr=full_pipe, timeout=WITHIN_S, check=False
    )
    assert ended.returncode == -signal.SIGALRM


def test_all_announced_lines_are_written_in_order_before_the_output_ends() -> None:
    written: list[str] = []
    with BackgroundLines(written.append) as announce:
        for number in range(100):
            announce(str(number))
    assert written == [str(number) for number in range(100)]


def test_lines_that_exceed_the_queue_are_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paused_terminal, "LINES_WAITING_MAX", 3)
    read, busy, written = threading.Event(), threading.Event(), list[str]()

    def write(line: str) -> None:
        busy.set()
        assert read.wait(WITHIN_S)
        written.append(line)

    with BackgroundLines(write) as announce:
        announce("in hand")
        assert busy.wait(WITHIN_S)
        for number in range(5):
            announce(str(number))
        read.set()
        while not announce._waiting.empty():
            pass
    assert written == [
        "in hand",
        "2 lines dropped, because this output was not read",
        "0",
        "1",
        "2",
    ]


def test_a_write_that_fails_loses_only_its_own_line() -> None:
    written: list[str] = []
    failures = {"1": OSError(errno.EIO, "Input/output error"), "2": ValueError("closed file")}

    def write(line: str) -> None:
        if line in failures:
            raise failures[line]
        written.append(line)

    with BackgroundLines(write) as announce:
        for number in range(5):
            announce(str(number))
    assert written == ["0", "3", "2 lines lost, because writing failed", "4"]


def test_a_process_ends_although_its_last_line_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paused_terminal, "END_S", 0.01)
    read, ended = threading.Event(), list[int]()

    def write(line: str) -> None:
        assert read.wait(WITHIN_S)

    with BackgroundLines(write, end=ended.append) as announce:
        announce("nobody reads this")
    with suppress(RuntimeError), BackgroundLines(write, end=ended.append) as announce:
        announce("nor this")
        raise RuntimeError
    read.set()
    assert ended == [0, 1]
