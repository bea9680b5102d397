"""``kamou status --watch``: on a terminal, where there is none, and when the run ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from commands.status_cases import NOW_MS, seen
from store import story

from kamou.commands import watch
from kamou.commands.watch import StatusWatch
from kamou.core.model import Figure, TradingState
from kamou.data_directory.folder import DataDirectory
from kamou.errors import StoreError
from kamou.store import database
from kamou.store.journal import JournalWriter

Cli = Callable[..., tuple[int, str, str]]
WITHIN_S = 60.0  # far beyond what any wait here takes


@pytest.fixture
def two_looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let `--watch` look twice without waiting, then interrupt it."""
    waited: list[float] = []

    def pause(seconds: float, woken: int) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(watch, "pause", pause)
    return waited


# --- without a terminal ---------------------------------------------------------------


def test_without_a_terminal_looks_follow_each_other_with_an_empty_line_between(
    cli: Cli, journalled: DataDirectory, two_looks: list[float]
) -> None:
    code, out, err = cli("status", "--watch", "--interval", 3)
    assert (code, err) == (0, "")
    assert two_looks == [3, 3]
    looks = out.rstrip("\n").split("\n\n")
    assert len(looks) == 2
    for look in looks:
        title, trouble, *_ = look.splitlines()
        assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$", title)
        assert trouble.startswith("! no run holds")
        assert "ETHUSDT" in look
    assert "\x1b" not in out


def test_columns_of_the_environment_are_the_width_without_a_terminal(
    cli: Cli, journalled: DataDirectory, two_looks: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    for arguments in (("status",), ("status", "--watch")):
        assert max(map(len, cli(*arguments)[1].splitlines())) <= 60


def test_watching_nothing_says_why(cli: Cli, two_looks: list[float]) -> None:
    assert "no run holds" in cli("status", "--watch")[1]


def test_watching_in_json_is_a_line_for_each_look(cli: Cli, two_looks: list[float]) -> None:
    code, out, _ = cli("status", "--watch", "--json")
    assert code == 0
    assert [json.loads(line)["running"] for line in out.splitlines()] == [False, False]


def test_a_pause_ends_and_says_whether_it_was_woken() -> None:
    readable, writable = os.pipe()
    assert watch.pause(0, readable) is False
    os.write(writable, b"..")
    assert watch.pause(60, readable) is True
    assert watch.pause(0, readable) is False, "both were read"
    os.close(readable)
    os.close(writable)


def test_a_signal_right_before_a_pause_ends_it() -> None:
    """A handler alone would run after the pause: Python calls it between two of its own steps."""
    with watch._waking_signals() as woken, watch._handled_resizes():
        assert watch.pause(0, woken) is False
        signal.raise_signal(signal.SIGWINCH)
        assert watch.pause(0, woken) is True


# --- the run ends ---------------------------------------------------------------------


def example_settings(*given: dict[str, Any] | Exception) -> StatusWatch:
    left = iter(given)

    def look() -> dict[str, Any]:
        found = next(left)
        if isinstance(found, Exception):
            raise found
        return found

    return StatusWatch(look)


GONE = seen(running=False, system=None, run=None, gone=True, why_not="nothing is running")


def test_the_end_of_a_run_is_said_with_its_first_time_and_the_watch_goes_on() -> None:
    later = {**GONE, "at_ms": NOW_MS + 60_000}
    again = seen(run={"pid": 4343, "started_at_ms": NOW_MS, "mode": "demo", "port": 1})
    watched = example_settings(seen(), GONE, later, again)
    assert watched.look()["notice"] is None
    ended = (
        "the run (process 4242) has ended, seen 2023-11-15 12:06:40 UTC; looking for the next one: "
        "nothing is running"
    )
    assert watched.look()["notice"] == ended
    assert watched.look()["notice"] == ended, "the time of the first look that found it gone"
    assert watched.look()["notice"] is None


def test_without_a_run_before_the_watch_says_why_there_is_none() -> None:
    assert example_settings(GONE).look()["notice"] == "nothing is running"


def test_a_run_that_does_not_answer_has_not_ended() -> None:
    silent = {**GONE, "gone": False, "why_not": "process 4242 did not answer"}
    watched = example_settings(seen(), silent)
    watched.look()
    assert watched.look()["notice"] == "process 4242 did not answer"


def test_a_database_that_cannot_be_read_now_is_read_at_the_next_look() -> None:
    watched = example_settings(StoreError("kamou.sqlite3: is being restored"), seen())
    unread = watched.look()
    assert (unread["running"], unread["book"]) == (False, None)
    assert unread["notice"] == "kamou.sqlite3: is being restored"
    assert watched.look()["notice"] is None


# --- on a terminal --------------------------------------------------------------------


@attrs.define
class Terminal:
    """A pseudo-terminal of a given size, and everything that was written to it."""

    master: int
    slave: int
    written: str = ""

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def next_frame(self) -> list[str]:
        """Wait for the next frame; return its lines without what colours and clears."""
        while "\x1b[J" not in self.written:
            ready, _, _ = select.select([self.master], [], [], WITHIN_S)
            assert ready, "no frame was drawn"
            self.written += os.read(self.master, 65_536).decode()
        drawn, _, self.written = self.written.partition("\x1b[J")
        _, home, frame = drawn.rpartition("\x1b[H")
        assert home
        return [re.sub(r"\x1b\[[0-9;]*[Km]", "", line) for line in re.split("\r+\n", frame)]

    def rest(self) -> str:
        while select.select([self.master], [], [], 0)[0]:
            self.written += os.read(self.master, 65_536).decode()
        return self.written


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal(*pty.openpty())
    yield made
    os.close(made.master)
    os.close(made.slave)


@pytest.fixture
def halted(journalled: DataDirectory) -> DataDirectory:
    """With a halt whose reason does not fit a line."""
    note = Figure(name="note", value="a reason of many words " * 8)
    change = story.e.StateChanged(
        at_ms=story.CYCLE_MS + 60_000,
        before=TradingState.ACTIVE,
        after=TradingState.REDUCE_ONLY,
        reason="OPERATOR_HALT",
        figures=(note,),
    )
    writer = database.open_writer(journalled.database, durable=False)
    JournalWriter(writer, run_number=1).append([change])
    writer.close()
    return journalled


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A test run in the background ignores Ctrl-C, and what it starts would do so as well."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def killed_at_the_end(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """A failed assertion must not wait for a process that nobody ends."""
    try:
        yield
    finally:
        process.kill()


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("ended_by", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, watch.EXIT_TERMINATED)]
)
def test_on_a_terminal_frames_are_drawn_in_place_and_follow_its_size(
    terminal: Terminal, halted: DataDirectory, tmp_path: Path, ended_by: int, code: int
) -> None:
    terminal.resize(60, 24)
    command = [sys.executable, "-m", "kamou", "status", "--watch", "--interval", "3600"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "300"}
    with (
        subprocess.Popen(
            [*command, "--data-dir", str(halted.path)],
            stdout=terminal.slave,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=environment,
        ) as process,
        killed_at_the_end(process),
    ):
        first = terminal.next_frame()
        assert len(first) <= 24
        assert max(map(len, first)) < 60, "a line of 60 may wrap"
        assert any("ETHUSDT" in line for line in first)
        terminal.resize(160, 50)
        process.send_signal(signal.SIGWINCH)
        wide = terminal.next_frame()
        assert 60 < max(map(len, wide)) < 160
        process.send_signal(ended_by)
        _, err = process.communicate(timeout=WITHIN_S)
    assert (process.returncode, err) == (code, b"")
    assert terminal.rest().endswith("\x1b[?25h\x1b[?1049l"), "the screen of before, and its cursor"
