"""Line numbers of the keys of a TOML text, which `tomllib` does not report."""

from __future__ import annotations

import re

_HEADER = re.compile(r"^\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*[^\s=.]+)*)\s*=""")
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")
_TRIPLE = re.compile(r'"""|\'\'\'')


def lines_of_keys(text: str) -> dict[str, int]:
    """Return the line of each dotted key, counted from 1, of a text that is valid TOML.

    Tables are keys too. Keys of an inline table are left out; `line_of_key` finds the line of the
    key that holds the table.
    """
    found: dict[str, int] = {}
    table = ""
    quote = ""  # the quotes of the multi-line string around this line; empty: none
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
    """Return the line of ``key``, or of the nearest table that holds it; 1 if there is none."""
    while key and key not in lines:
        key = key.rpartition(".")[0]
    return lines.get(key, 1)


def _dotted(written: str) -> str:
    return ".".join(part.strip("\"'") for part in _PART.findall(written))
