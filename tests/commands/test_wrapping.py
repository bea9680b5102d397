"""Lines and tables that fit the width of the output, broken only between words."""

from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.cli import print_defect
from kamou.commands import printing
from kamou.commands.printing import (
    print_error_line,
    print_facts,
    print_line,
    print_table,
    write_line_and_bar,
)
from kamou.commands.text_layout import READABLE, fit_columns
from kamou.escaping import escape_text

SENTENCE = "halted by the risk governor: the day's loss reached its limit (the day's loss 4.01%)"
WIDTHS = (60, 80, 160)


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("COLUMNS", str(request.param))
    return int(request.param)


def words_of(text: str) -> list[str]:
    return text.split()


@pytest.mark.parametrize("err", [False, True])
def test_a_long_line_is_broken_between_words_and_its_rest_is_indented(
    width: int, err: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    print_line(SENTENCE * 3, err=err)
    first, *others = capsys.readouterr()[err].splitlines()
    assert all(len(line) <= width for line in (first, *others))
    assert others
    assert all(line.startswith("  ") for line in others)
    assert words_of(" ".join((first, *others))) == words_of(SENTENCE * 3)


def test_a_word_that_is_longer_than_a_line_stays_whole(
    width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"/{'x' * 200}"
    print_line(f"    wrote {path}: 3 bytes")
    assert capsys.readouterr().out.splitlines() == ["    wrote", f"      {path}:", "      3 bytes"]


@pytest.mark.parametrize("columns", ["", "0", "no number"])
def test_without_a_terminal_and_a_width_a_line_is_not_broken(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    print_line(SENTENCE * 9)
    print_error_line(SENTENCE * 9)
    write_line_and_bar(SENTENCE * 9, prefix="2026-01-02T00:00:00Z INFO ")
    out, err = capsys.readouterr()
    assert (len(out.splitlines()), len(err.splitlines())) == (1, 2)


def test_a_broken_line_of_a_run_has_its_time_only_in_the_first_line(
    width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    write_line_and_bar(SENTENCE * 3, prefix="2026-01-02T00:00:00Z INFO ")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("2026-01-02T00:00:00Z INFO halted")
    assert all(len(line) <= width for line in lines)
    assert [line for line in lines if line[:2] != "  "] == lines[:1]


def test_the_width_is_that_of_the_terminal_of_the_written_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setattr(printing, "terminal_columns", lambda stream: 60 if stream is made else None)
    write_line_and_bar(SENTENCE, erase=True, bar="[##..]")
    *lines, bar = made.getvalue().split("\n")
    assert bar == "[##..]"
    assert lines[0].startswith("\r\x1b[Khalted by")
    assert len(lines) == 2


def test_every_line_of_a_traceback_starts_with_a_bar(
    width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    print_defect(ValueError, ValueError("error: not by Kamou " * 40), None)
    assert all(line.startswith("| ") for line in capsys.readouterr().err.splitlines())


HEADER = ("name", "answer", "why, with figures")
ROWS = [
    ("mean reversion", "REWARD_TO_RISK_LOW", SENTENCE),
    ("OI momentum", "RATE_ENTRIES_EXCEEDED", "entries 7"),
]


def test_a_table_breaks_no_word(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    print_table("answers", HEADER, ROWS)
    text = capsys.readouterr().out
    assert all(len(line) <= width for line in text.splitlines())
    for word in {word for row in ROWS for cell in row for word in cell.split()}:
        assert word in text, word


def test_a_table_that_is_too_wide_is_printed_as_names_and_values(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    print_table("answers", HEADER, ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["answers", "mean reversion", "  answer: REWARD_TO_RISK_LOW"]
    assert lines[-3:] == [
        "OI momentum",
        "  answer: RATE_ENTRIES_EXCEEDED",
        "  why, with figures: entries 7",
    ]
    assert all(len(line) <= 40 for line in lines)


def test_a_table_of_facts_breaks_no_word(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    print_facts({"latch": "set", "next": SENTENCE * 2})
    text = capsys.readouterr().out
    assert all(len(line) <= width for line in text.splitlines())
    for word in words_of(SENTENCE):
        assert word in text


@given(
    rows=st.lists(st.tuples(*[st.text("ab ", max_size=30)] * 3), min_size=1),
    room=st.integers(1, 90),
)
def test_column_widths_fit_the_given_width_and_the_longest_words(
    rows: list[tuple[str, ...]], room: int
) -> None:
    columns = list(zip(*rows, strict=True))
    longest = [max(len(word) for cell in each for word in ("", *cell.split())) for each in columns]
    widths = fit_columns(rows, room)
    if widths is None:
        assert room < 3 * READABLE or room < sum(longest)
        return
    assert sum(widths) <= room
    assert all(width >= least for width, least in zip(widths, longest, strict=True))


def test_text_from_outside_cannot_start_a_line(
    width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    print_error_line("error: no file " + "x " * 100 + "\nresults: http://evil.example/")
    first, *others = capsys.readouterr().err.splitlines()
    assert first.startswith("error: ")
    assert all(line.startswith("  ") for line in others)
    assert escape_text("\n") in " ".join(others)
