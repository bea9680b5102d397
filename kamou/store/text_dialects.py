"""How a file of text is written: delimiter, header, line ends.

The first lines of the file are examined. The delimiter is the one of ``DELIMITERS`` that is most
frequent in the first line. If the comma is not the delimiter and a cell is a number with one comma,
the comma is a decimal comma.
"""

from __future__ import annotations

import csv
import re
from enum import StrEnum

import attrs

from kamou.escaping import show_text

DELIMITERS = (";", "\t", "|", ",")  # the first of equal counts: commas may be decimal commas
NUMBER = re.compile(r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$")
COMMA_NUMBER = re.compile(r"^\s*[+-]?\d+,\d+\s*$")
TIME = re.compile(r"^\s*\d{4}-\d{2}-\d{2}")
THOUSANDS = re.compile(r"^\s*[+-]?[1-9]\d{0,2},\d{3}\s*$")
SEPARATOR_NOTE = re.compile(r"^sep=.$", re.IGNORECASE)  # a line of Excel's
CELLS_OF_HEADER_MIN = 5  # a line without delimiters above so many cells is a note
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LINES_SNIFFED_MAX = 200


class Writing(StrEnum):
    """How the rows of a file of text are separated."""

    LINES = "lines"
    LONE_RETURNS = "lone carriage returns"
    ARRAYS = "JSON arrays"


@attrs.frozen(kw_only=True)
class Dialect:
    """Delimiter, header and row ends of a file of text."""

    writing: Writing
    delimiter: str
    decimal_comma: bool
    names: tuple[str, ...] | None  # of the first line; None: it has values
    first_line: bytes  # as in the file, without its end
    cells: int  # of the first row
    trailing: bool  # the rows end with a delimiter that the header lacks
    cut_header: bool  # the header ends with a delimiter that the rows lack


class DoubtfulTextError(ValueError):
    """Text with a line above its header, or with commas that can mean two things."""


class OtherJsonError(ValueError):
    """JSON that is not arrays of numbers."""


def is_json(head: bytes) -> bool:
    """Return True if a file that begins with ``head`` is JSON."""
    return head.removeprefix(BYTE_ORDER_MARK).lstrip()[:1] in (b"[", b"{")


def sniff_dialect(head: bytes) -> Dialect:
    """Return how a file is written that begins with ``head``.

    Raises:
        UnicodeDecodeError: the head is not UTF-8.
        OtherJsonError: the head is JSON, but not arrays of arrays.
        DoubtfulTextError: a line stands above the header, or commas can be decimal commas or
            separate thousands.
    """
    head = head.removeprefix(BYTE_ORDER_MARK)
    if is_json(head):
        return _arrays_dialect(head)
    lone = b"\r" in head and b"\n" not in head
    lines = (head.replace(b"\r", b"\n") if lone else head).split(b"\n")
    first = lines[0].rstrip(b"\r")
    delimiter = _find_delimiter(first.decode("utf-8"))
    # The last line of the head may be cut.
    texts = [each.rstrip(b"\r").decode("utf-8") for each in lines[1:-1][:LINES_SNIFFED_MAX]]
    rows = [_split(each, delimiter) for each in texts if each.strip()]
    names = _split(first.decode("utf-8"), delimiter)
    _check_preamble(first.decode("utf-8"), texts)
    has_header = not _is_row(names, delimiter)
    second = rows[0] if rows else names
    examined = rows if has_header else [names, *rows]
    if delimiter != ",":
        _check_commas([cell for row in examined for cell in row if COMMA_NUMBER.match(cell)])
    return Dialect(
        writing=Writing.LONE_RETURNS if lone else Writing.LINES,
        delimiter=delimiter,
        decimal_comma=delimiter != ","
        and any(COMMA_NUMBER.match(cell) for row in examined for cell in row),
        names=tuple(each.strip() for each in names) if has_header else None,
        first_line=first,
        cells=len(names),
        trailing=has_header and len(second) == len(names) + 1 and not second[-1].strip(),
        cut_header=has_header and len(second) == len(names) - 1 and not names[-1].strip(),
    )


def _arrays_dialect(head: bytes) -> Dialect:
    compact = bytes(head.translate(None, b" \t\r\n"))
    if not compact.startswith(b"[["):
        raise OtherJsonError(
            "JSON, but not arrays of numbers; write it as [[time, open, high, ...], ...]"
        )
    first = compact[2:].split(b"]")[0]
    return Dialect(
        writing=Writing.ARRAYS,
        delimiter=",",
        decimal_comma=False,
        names=None,
        first_line=first,
        cells=first.count(b",") + 1,
        trailing=False,
        cut_header=False,
    )


def _check_preamble(first: str, later: list[str]) -> None:
    """Raise ``DoubtfulTextError`` if a line stands above the header."""
    is_note = SEPARATOR_NOTE.match(first) is not None
    if not is_note and later and not any(each in first for each in DELIMITERS):
        second = _split(later[0], _find_delimiter(later[0]))
        is_note = len(second) >= CELLS_OF_HEADER_MIN and not any(map(NUMBER.match, second))
    if is_note:
        raise DoubtfulTextError(f"line 1 is {show_text(first)}, above the header; remove the line")


def _check_commas(cells: list[str]) -> None:
    """Raise ``DoubtfulTextError`` if each number with a comma may be one of thousands."""
    if cells and all(map(THOUSANDS.match, cells)):
        raise DoubtfulTextError(
            f"a number is {show_text(cells[0])}: a decimal comma, or a comma between thousands? "
            "Write the numbers with a decimal point and without commas"
        )


def _find_delimiter(line: str) -> str:
    unquoted = re.sub(r'"[^"]*"', "", line)
    found = max(DELIMITERS, key=unquoted.count)
    return found if found in unquoted else ","


def _split(line: str, delimiter: str) -> list[str]:
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter), [""])
    except csv.Error:  # a line break inside quotes; Arrow says what is wrong with the row
        return line.split(delimiter)


def _is_row(cells: list[str], delimiter: str) -> bool:
    """Return True if at least half of the first line's cells are numbers or times."""
    values = [
        bool(
            NUMBER.match(each)
            or TIME.match(each)
            or (delimiter != "," and COMMA_NUMBER.match(each))
        )
        for each in cells
    ]
    return any(values) and 2 * sum(values) >= len(values)
