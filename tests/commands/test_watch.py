"""``kamou status --watch``: on a terminal, without one, and when the run ends."""

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
from typing import Any, cast

import attrs
import pytest

from kamou.commands import watch
from kamou.commands.watch import ReadStatus, StatusWatch
from kamou.core.book.events import StateChanged
from kamou.core.codes import StateReason
from kamou.core.model import Figure, TradingState
from kamou.data_directory.folder import DataDirectory
from kamou.errors import StoreError
from kamou.store import database
from kamou.store.journal import JournalWriter
from tests.commands.status_cases import NOW_MS, make_status
from tests.store import story

Cli = Callable[..., tuple[int, str, str]]
WITHIN_S = 60.0  # much longer than any wait in these tests


@pytest.fixture
def interrupted_at_second_wait(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let `--watch` wait twice without delay, then interrupt it; return the waits, s."""
    waited: list[float] = []

    def wait_for_signal(seconds: float, woken: int) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(watch, "wait_for_signal", wait_for_signal)
    return waited


# --- without a terminal ----------------------------------------------------------------------


def test_without_a_terminal_outputs_are_separated_by_an_empty_line(
    cli: Cli, journalled: DataDirectory, interrupted_at_second_wait: list[float]
) -> None:
    code, out, err = cli("status", "--watch", "--interval", 3)
    assert (code, err) == (0, "")
    assert interrupted_at_second_wait == [3, 3]
    outputs = out.rstrip("\n").split("\n\n")
    assert len(outputs) == 2
    for output in outputs:
        title, trouble, *_ = output.splitlines()
        assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$", title)
        assert trouble.startswith("! no run holds")
        assert "ETHUSDT" in output
    assert "\x1b" not in out


def test_without_a_terminal_the_variable_columns_is_the_width(
    cli: Cli,
    journalled: DataDirectory,
    interrupted_at_second_wait: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    for arguments in (("status",), ("status", "--watch")):
        assert max(map(len, cli(*arguments)[1].splitlines())) <= 60


def test_the_watch_says_why_there_is_no_status_without_a_run_and_a_database(
    cli: Cli, interrupted_at_second_wait: list[float]
) -> None:
    assert "no run holds" in cli("status", "--watch")[1]


def test_the_watch_with_json_prints_one_line_for_each_status(
    cli: Cli, interrupted_at_second_wait: list[float]
) -> None:
    code, out, _ = cli("status", "--watch", "--json")
    assert code == 0
    assert [json.loads(line)["running"] for line in out.splitlines()] == [False, False]


def test_a_wait_of_the_watch_returns_whether_a_process_signal_ended_it() -> None:
    readable, writable = os.pipe()
    assert watch.wait_for_signal(0, readable) is False
    os.write(writable, b"..")
    assert watch.wait_for_signal(60, readable) is True
    assert watch.wait_for_signal(0, readable) is False, "both bytes were read"
    os.close(readable)
    os.close(writable)


def test_a_process_signal_just_before_a_wait_of_the_watch_ends_it() -> None:
    """Without the descriptor Python would run the handler only after the wait."""
    with watch._wake_on_signals() as woken, watch._handle_resizes():
        assert watch.wait_for_signal(0, woken) is False
        signal.raise_signal(signal.SIGWINCH)
        assert watch.wait_for_signal(0, woken) is True


# --- the run ends ----------------------------------------------------------------------------


def make_watch(*given: dict[str, Any] | Exception) -> StatusWatch:
    left = iter(given)

    def read() -> dict[str, Any]:
        found = next(left)
        if isinstance(found, Exception):
            raise found
        return found

    return StatusWatch(cast(ReadStatus, read))


GONE = make_status(running=False, system=None, run=None, gone=True, why_not="nothing is running")


def test_the_watch_shows_when_the_run_ended_and_goes_on() -> None:
    later = {**GONE, "at_ms": NOW_MS + 60_000}
    again = make_status(run={"pid": 4343, "started_at_ms": NOW_MS, "mode": "demo", "port": 1})
    watched = make_watch(make_status(), GONE, later, again)
    assert watched.read()["notice"] is None
    ended = (
        "the run (process 4242) has ended, seen 2023-11-15 12:06:40 UTC; looking for the next one: "
        "nothing is running"
    )
    assert watched.read()["notice"] == ended
    assert watched.read()["notice"] == ended, "the time of the first status without the run"
    assert watched.read()["notice"] is None


def test_a_watch_that_has_seen_no_run_says_why_there_is_none() -> None:
    assert make_watch(GONE).read()["notice"] == "nothing is running"


def test_a_run_that_does_not_answer_is_not_called_ended() -> None:
    silent = {**GONE, "gone": False, "why_not": "process 4242 did not answer"}
    watched = make_watch(make_status(), silent)
    watched.read()
    assert watched.read()["notice"] == "process 4242 did not answer"


def test_the_watch_reads_an_unreadable_database_again_at_the_next_status() -> None:
    watched = make_watch(StoreError("kamou.sqlite3: is being restored"), make_status())
    unreadable = watched.read()
    assert (unreadable["running"], unreadable["book"]) == (False, None)
    assert unreadable["notice"] == "kamou.sqlite3: is being restored"
    assert watched.read()["notice"] is None


# --- on a terminal ---------------------------------------------------------------------------


@attrs.define
class Terminal:
    """A pseudo-terminal, and the text that was written to it."""

    master: int
    slave: int
    written: str = ""

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def next_frame(self) -> list[str]:
        """Wait for the next frame; return its lines without colors and erasing codes."""
        while "\x1b[J" not in self.written:
            ready, _, _ = select.select([self.master], [], [], WITHIN_S)
            assert ready, "no frame was drawn"
            self.written += os.read(self.master, 65_536).decode()
        drawn, _, self.written = self.written.partition("\x1b[J")
        _, home, frame = drawn.rpartition("\x1b[H")
        assert home
        return [re.sub(r"\x1b\[[0-9;]*[Km]", "", line) for line in re.split("\r+\n", frame)]

    def read_rest(self) -> str:
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
    """Journal a halt whose reason is longer than a line; return the data directory."""
    note = Figure(name="note", value="a reason of many words " * 8)
    change = StateChanged(
        at_ms=story.CYCLE_MS + 60_000,
        before=TradingState.ACTIVE,
        after=TradingState.REDUCE_ONLY,
        reason=StateReason.OPERATOR_HALT,
        figures=(note,),
    )
    writer = database.open_writer(journalled.database, durable=False)
    JournalWriter(writer, run_number=1).append([change])
    writer.close()
    return journalled


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Handle Ctrl-C also where a shell started the tests with ``&``, which makes them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def kill_at_the_end(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill the process at the end, so that a failed assertion does not wait for it."""
    try:
        yield
    finally:
        process.kill()


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("ended_by", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, watch.EXIT_TERMINATED)]
)
def test_on_a_terminal_frames_are_drawn_in_place_and_follow_the_size_of_the_terminal(
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
        kill_at_the_end(process),
    ):
        first = terminal.next_frame()
        assert len(first) <= 24
        assert max(map(len, first)) < 60, "a line of 60 columns may wrap"
        assert any("ETHUSDT" in line for line in first)
        terminal.resize(160, 50)
        process.send_signal(signal.SIGWINCH)
        wide = terminal.next_frame()
        assert 60 < max(map(len, wide)) < 160
        process.send_signal(ended_by)
        _, err = process.communicate(timeout=WITHIN_S)
    assert (process.returncode, err) == (code, b"")
    assert terminal.read_rest().endswith("\x1b[?25h\x1b[?1049l"), (
        "the first screen and its cursor are back"
    )
