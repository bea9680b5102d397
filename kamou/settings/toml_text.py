"""Line numbers of the keys of a TOML text, which `tomllib` does not report."""

from __future__ import annotations

import re

_HEADER = re.compile(r"^\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*[^\s=.]+)*)\s*=""")
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")
_TRIPLE = re.compile(r'"""|\'\'\'')


def find_key_lines(text: str) -> dict[str, int]:
    """Return the line number of each dotted key in valid TOML, counted from 1.

    Table headers count as keys. Keys of an inline table are left out; `find_key_line` returns the
    line of the inline table. Headers of arrays of tables are ignored, because no setting is one.
    """
    found: dict[str, int] = {}
    table = ""
    quote = ""  # opening quotes of the multi-line string around this line; empty: none
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
            table = _join_parts(header[1])
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            name = _join_parts(key[1])
            found.setdefault(f"{table}.{name}" if table else name, number)
    return found


def find_key_line(lines: dict[str, int], key: str) -> int:
    """Return the line of ``key``, else of the nearest table around it, else 1."""
    while key and key not in lines:
        key = key.rpartition(".")[0]
    return lines.get(key, 1)


def _join_parts(written: str) -> str:
    return ".".join(part.strip("\"'") for part in _PART.findall(written))
