"""Check of the symbol names in files; other modules do not check them again."""

from __future__ import annotations

import re

SYMBOL_CHARS_MAX = 40  # as ccxt writes them, 1000000BABYDOGE/USDT:USDT has 25
SYMBOL_EXPECTED = (
    f"1 to {SYMBOL_CHARS_MAX} of A-Z a-z 0-9 . _ : / @ -, a letter or digit first, no two dots in a"
    " row, not available_ms"
)

_PATTERN = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._:/@-]{{0,{SYMBOL_CHARS_MAX - 1}}}")
_RESERVED = frozenset({"available_ms"})  # name of the time column among a series' symbols


def is_symbol(text: str) -> bool:
    """Return True if the text is a valid symbol, as ``SYMBOL_EXPECTED`` describes.

    A valid symbol contains no ``..`` and is not the name of a file's time column.
    """
    return bool(_PATTERN.fullmatch(text)) and ".." not in text and text not in _RESERVED
