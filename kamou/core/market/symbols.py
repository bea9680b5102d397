"""Checks of symbol names in files; the rest of the program trusts them."""

from __future__ import annotations

import re

from kamou.escaping import escape_text

SYMBOL_CHARS_MAX = 40  # as ccxt writes them, 1000000BABYDOGE/USDT:USDT has 25
SYMBOL_EXPECTED = f"1 to {SYMBOL_CHARS_MAX} of A-Z a-z 0-9 . _ : / @ -, a letter or digit first"
SHOWN_CHARS_MAX = 60  # of a text from a file in an error

_PATTERN = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._:/@-]{{0,{SYMBOL_CHARS_MAX - 1}}}")
_RESERVED = frozenset({"available_ms"})  # name of the time column among a series' symbols


def is_symbol(text: str) -> bool:
    """Return True if the text is a valid symbol: ASCII, short, no blanks, no ``..``."""
    return bool(_PATTERN.fullmatch(text)) and ".." not in text and text not in _RESERVED


def show_text(text: str) -> str:
    """Quote a text from a file for an error: one line, escaped, at most 60 characters."""
    return f"'{escape_text(text, chars_max=SHOWN_CHARS_MAX)}'"
