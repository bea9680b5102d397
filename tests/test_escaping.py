"""Escaped text is one printable line of limited length."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kamou.escaping import escape_text


@given(text=st.text(st.characters(), max_size=600))
def test_escaped_text_is_one_printable_line_of_at_most_500_characters(text: str) -> None:
    shown = escape_text(text)
    assert len(shown) <= 500
    assert len(shown.splitlines()) <= 1
    assert shown.isprintable()
    shown.encode("utf-8")  # no lone surrogate is left


@given(text=st.text(st.characters(categories=["L", "N", "P", "S"]) | st.just(" "), max_size=400))
def test_escaping_leaves_printable_text_unchanged(text: str) -> None:
    assert escape_text(text) == text


def test_terminal_escapes_line_breaks_overrides_and_lone_surrogates_are_written_as_codes() -> None:
    shown = escape_text("a\x1b[2Jb\r\nresults: c\u202ed\ud800")
    assert shown == "a\\x1b[2Jb\\r\\nresults: c\\u202ed\\ud800"


def test_text_that_is_too_long_is_cut_and_ends_in_three_dots() -> None:
    assert escape_text("x" * 10_000, chars_max=10) == "xxxxxxx..."
    assert len(escape_text("\x00" * 10_000)) == 500
