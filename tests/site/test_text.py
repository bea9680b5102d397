"""Text of the site's process on standard error: escaped, cut and limited."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.errors import SiteFloodError
from kamou.site.text import BYTES_MAX, LINES_MAX, SITE_LINE_BYTES_MAX, SITE_WINDOW_S, SiteText


class Terminal:
    """Recorder of lines, with a clock that the test sets."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.now_s = 0.0
        self.text = SiteText(announce=self.lines.append, seconds=lambda: self.now_s)


@given(st.lists(st.binary(max_size=200), max_size=30))
def test_every_line_of_any_bytes_is_printable_prefixed_and_short(
    chunks: list[bytes],
) -> None:
    terminal = Terminal()
    for chunk in chunks:
        terminal.text.take(chunk)
    terminal.text.end()
    assert all(line.startswith("site: ") and line.isprintable() for line in terminal.lines)
    assert all(len(line) <= 600 for line in terminal.lines)
    assert len(terminal.lines) <= LINES_MAX


@given(st.binary(max_size=500), st.integers(1, 50))
def test_lines_do_not_depend_on_the_pieces_of_the_text(text: bytes, size: int) -> None:
    whole, pieces = Terminal(), Terminal()
    whole.text.take(text)
    for start in range(0, len(text), size):
        pieces.text.take(text[start : start + size])
    whole.text.end()
    pieces.text.end()
    assert whole.lines == pieces.lines


def test_a_long_line_without_an_end_is_passed_on_in_parts() -> None:
    terminal = Terminal()
    for _ in range(20):
        terminal.text.take(b"x" * 4_096)
    assert len(terminal.text._rest) <= SITE_LINE_BYTES_MAX
    assert terminal.lines


def test_lines_beyond_the_limit_are_counted_and_the_count_is_reported_later() -> None:
    terminal = Terminal()
    terminal.text.take(b"line\n" * (LINES_MAX + 7))
    assert len(terminal.lines) == LINES_MAX
    terminal.now_s += SITE_WINDOW_S
    terminal.text.take(b"next\n")
    assert terminal.lines[LINES_MAX:] == ["site: 7 more lines were left out", "site: next"]


def test_text_beyond_the_limit_of_a_minute_is_an_error_and_the_next_minute_starts_at_zero() -> None:
    terminal = Terminal()
    with pytest.raises(SiteFloodError):
        terminal.text.take(b"x" * (BYTES_MAX + 1))
    terminal.now_s += SITE_WINDOW_S
    terminal.text.take(b"hello\n")
    assert terminal.lines[-1] == "site: hello"
