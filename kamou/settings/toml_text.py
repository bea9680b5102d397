"""What `tomllib` does not tell: the line on which each key of a TOML text stands."""

from __future__ import annotations

import re

_HEADER = re.compile(r"^\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*[^\s=.]+)*)\s*=""")
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")
_TRIPLE = re.compile(r'"""|\'\'\'')


def lines_of_keys(text: str) -> dict[str, int]:
    """Dotted key -> line, counted from 1. The text must already have parsed as TOML.

    Tables count as keys too. Keys inside an inline table are not listed: they stand on the line
    of the key that holds the table (`line_of_key` finds it).
    """
    found: dict[str, int] = {}
    table = ""
    quote = ""  # the kind of multi-line string we are inside, if any
    for number, line in enumerate(text.splitlines(), start=1):
        outside = not quote
        for mark in _TRIPLE.findall(line):
            if not quote:
                quote = mark
            elif quote == mark:
                quote = ""
        if not outside:
            continue
        if header := _HEADER.match(line):
            table = _dotted(header[1])
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            name = _dotted(key[1])
            found.setdefault(f"{table}.{name}" if table else name, number)
    return found


def line_of_key(lines: dict[str, int], key: str) -> int:
    """The line of ``key``, or of the nearest table or inline table that holds it; 1 at worst."""
    while key and key not in lines:
        key = key.rpartition(".")[0]
    return lines.get(key, 1)


def _dotted(written: str) -> str:
    return ".".join(part.strip("\"'") for part in _PART.findall(written))
