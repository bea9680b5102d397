"""Lines and progress of `kamou run`, on a terminal and without one."""

from __future__ import annotations

import io
import re
import sys
import threading

import pytest

from kamou.commands import paused_terminal, run_output
from kamou.commands.run_output import BAR_CHARS_MAX, RunOutput
from kamou.runtime.leveled_lines import error_line, warning_line

AT_MS = 1_767_312_000_123  # 2026-01-02T00:00:00Z
EVIL = "A\x1b[2J\nresults: http://evil.example/\r"


def render_screen(written: str, columns: int) -> list[str]:
    """Return the lines on a terminal that obeys CR, LF and line erasing."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[K|\r|\n|[^\x1b\r\n]", written):
        if part == "\x1b[K":
            lines[row] = lines[row][:column]
        elif part == "\r":
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        else:
            if column == columns:
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + 1 :]
            column += 1
    assert "\x1b" not in re.sub(r"\x1b\[K", "", written)
    return lines


class Terminal(io.StringIO):
    """Standard error on a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.drawn.set()
        return super().write(text)


def use_terminal(monkeypatch: pytest.MonkeyPatch, columns: int = 80) -> Terminal:
    """Make standard error a terminal of this width for the rest of the test."""
    made = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setattr(run_output, "_columns", lambda: columns)
    return made


def test_without_a_terminal_each_line_has_its_time_and_its_level(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with RunOutput(now_ms=lambda: AT_MS, on_terminal=False) as output:
        output.announce("plain")
        output.announce(warning_line("halted"))
        output.announce(error_line("crashed"))
        output.announce(EVIL)
    assert capsys.readouterr().err.splitlines() == [
        "2026-01-02T00:00:00Z INFO plain",
        "2026-01-02T00:00:00Z WARNING halted",
        "2026-01-02T00:00:00Z ERROR crashed",
        r"2026-01-02T00:00:00Z INFO A\x1b[2J\nresults: http://evil.example/\r",
    ]


def test_without_a_terminal_progress_is_one_line_per_tenth_but_the_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with RunOutput(now_ms=lambda: AT_MS, on_terminal=False) as output:
        for done in range(201):
            output.report("days", done, 200)
    lines = [line.partition(" INFO ")[2] for line in capsys.readouterr().err.splitlines()]
    assert lines == [f"days: {done} of 200" for done in range(20, 200, 20)]


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 160])
def test_on_a_terminal_the_progress_bar_is_the_last_line_and_is_erased_at_the_end(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    terminal = use_terminal(monkeypatch, columns)
    clock = iter(range(AT_MS, AT_MS + 10**9, 700))
    output = RunOutput(now_ms=lambda: next(clock))
    for done in range(5):
        output.report("fast-forward, days", done, 5)
        output.write(f"line {done} " + "x" * 2 * columns)
        *lines, bar = render_screen(terminal.getvalue(), columns)
        assert bar.startswith("fast-forward, days"), "the bar is below the lines"
        assert len(bar) < columns, "a bar as wide as the terminal would wrap"
        assert "".join(lines).count("line ") == done + 1
        assert not any("fast" in line for line in lines)
    with output:
        output.report("fast-forward, days", 5, 5)
        output.announce("ready")
    *lines, last = render_screen(terminal.getvalue(), columns)
    assert (lines[-1], last) == ("ready", "")
    assert not any("fast" in line for line in lines)


def test_the_bar_of_an_unfinished_task_is_erased_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = use_terminal(monkeypatch)
    with RunOutput() as output:
        output.report("days", 1, 2)
        assert terminal.drawn.wait(30)
        assert render_screen(terminal.getvalue(), 80)[0].startswith("days 1/2 [")
    assert render_screen(terminal.getvalue(), 80) == [""]


def test_a_bar_whose_request_was_dropped_is_drawn_at_the_next_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At a paused terminal the queue is full, and the request to draw is dropped."""
    monkeypatch.setattr(paused_terminal, "LINES_WAITING_MAX", 3)
    terminal = use_terminal(monkeypatch)
    output = RunOutput()
    for number in range(3):
        output.announce(f"line {number}")
    output.report("days", 1, 10)
    for _ in range(3):
        output.write(output._lines._waiting.get_nowait() or "")
    before = terminal.getvalue()
    output.report("days", 2, 10)
    output.write(output._lines._waiting.get_nowait() or "")
    assert render_screen(terminal.getvalue(), 80)[-1].startswith("days 2/10 [")
    assert terminal.getvalue() != before


def test_the_bar_estimates_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    now_ms = [AT_MS]
    output = RunOutput(now_ms=lambda: now_ms[0])
    output.report("days", 0, 4)
    now_ms[0] += 10_000
    output.report("days", 1, 4)
    output.write("a line")
    assert render_screen(terminal.getvalue(), 80)[-1].endswith("] about 30 s left")
    now_ms[0] += 4_000  # of the second step
    output.report("days", 1, 4)
    output.write("a line")
    bar = render_screen(terminal.getvalue(), 80)[-1]
    assert bar.endswith("] about 26 s left")
    assert bar.startswith(f"days 1/4 [{'#' * (BAR_CHARS_MAX // 4)}.")


def test_the_name_of_a_task_is_escaped_in_the_bar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = use_terminal(monkeypatch, 160)
    output = RunOutput()
    output.report(EVIL, 1, 2)
    output.write("a line")
    assert render_screen(terminal.getvalue(), 160)[-1].startswith(r"A\x1b[2J\nresults")


def test_a_dumb_terminal_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    output = RunOutput(now_ms=lambda: AT_MS)
    output.report("days", 1, 200)
    output.write("a line")
    assert terminal.getvalue() == "2026-01-02T00:00:00Z INFO a line\n"
