"""Escape and quote text from outside for one line of a terminal, log or error."""

from __future__ import annotations

CHARS_MAX = 500  # of one line; a longer text is cut and ends with "..."
SHOWN_CHARS_MAX = 60  # of a text from a file in an error


def escape_text(text: str, *, chars_max: int = CHARS_MAX) -> str:
    """Return the text as one printable line.

    Control characters, escape sequences, line breaks, bidirectional overrides, spaces other than
    the ASCII one, surrogates and unassigned code points (``str.isprintable``) become backslash
    escapes as in Python's ``repr``. Backslashes stay, so the result cannot be parsed back.

    Args:
        text: anything, of any length.
        chars_max: length of the result at most, the ellipsis included.
    """
    cut = text[: chars_max + 1]  # bounds the CPU time for a text of any length
    shown = "".join(c if c.isprintable() else _escaped(c) for c in cut)
    return shown if len(shown) <= chars_max else shown[: chars_max - 3] + "..."


def show_text(text: str) -> str:
    """Quote a text from a file, escaped and cut to ``SHOWN_CHARS_MAX`` characters."""
    return f"'{escape_text(text, chars_max=SHOWN_CHARS_MAX)}'"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
