"""Measuring, cutting, wrapping, alignment and limiting of lines of plain text.

Widths are in cells of a terminal: a wide character takes two. Callers escape text from outside
first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

CUT = ".."  # end of a text that was cut
GAP = "  "  # between two pieces of a line, or two columns
READABLE = 14  # minimum cells of a column whose text is wrapped


def count_cells(text: str) -> int:
    """Return the number of terminal cells that the text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, width: int) -> str:
    """Return the text in at most ``width`` cells; a shortened text ends in ``CUT``."""
    if count_cells(text) <= width:
        return text
    room = max(0, width - len(CUT))
    return (_take_cells(text, room) + CUT)[:width] if width > 0 else ""


def wrap(text: str, width: int, *, hang: str = "  ", break_words: bool = True) -> list[str]:
    """Return the text in lines that are broken at spaces.

    Args:
        text: one line; its indentation is kept.
        width: cells of a line.
        hang: indentation of the lines after the first.
        break_words: break a word that is longer than a line; False: such a line is too wide.
    """
    lines: list[str] = []
    line, empty = text[: len(text) - len(text.lstrip(" "))], True
    for word in text.split():
        joined = line + word if empty else f"{line} {word}"
        if count_cells(joined) <= width:
            line, empty = joined, False
            continue
        if not empty:
            lines.append(line)
            line = hang
        line, empty = line + word, False
        while break_words and count_cells(line) > width:
            begun = _take_cells(line, width)
            if count_cells(begun) <= count_cells(hang):  # not even one character fits
                return [*lines, cut(line, width)]
            lines.append(begun)
            line = hang + line[len(begun) :]
    return [*lines, line]


def fit_line(line: str, width: int) -> list[str]:
    """Return the line in lines of the width; a line that fits, or a word, stays whole."""
    if count_cells(line) <= width:
        return [line]
    hang = " " * (len(line) - len(line.lstrip(" ")) + 2)
    return wrap(line, width, hang=hang, break_words=False)


def flow(pieces: Iterable[str], width: int, *, indent: str = "  ") -> list[str]:
    """Return the pieces in lines, as many per line as fit; wrap a longer piece."""
    lines: list[str] = []
    line = ""
    for piece in pieces:
        joined = line + GAP + piece if line else indent + piece
        if count_cells(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        *full, line = wrap(indent + piece, width, hang=indent + "  ")
        lines += full
    return [*lines, line] if line else lines


def align_columns(rows: Sequence[Sequence[str]], *, right: Iterable[int] = ()) -> list[str]:
    """Return the rows as lines, in columns as wide as their widest cell.

    Args:
        rows: of equal length; the first may be a header.
        right: numbers, from 0, of the columns that are aligned right.
    """
    aligned = set(right)
    widths = [max(map(count_cells, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        parts = []
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            pad = " " * (width - count_cells(cell))
            parts.append(pad + cell if number in aligned else cell + pad)
        lines.append(GAP.join(parts).rstrip())
    return lines


def fit_columns(rows: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """Return column widths that break no word; None if ``room`` is too small.

    The widest columns are narrowed first, to ``READABLE`` cells at least. ``room`` is in cells.
    """
    texts = list(zip(*rows, strict=True))
    widths = [max(map(count_cells, column)) for column in texts]
    words = [
        max((count_cells(word) for cell in column for word in cell.split()), default=0)
        for column in texts
    ]
    least = [max(word, min(width, READABLE)) for word, width in zip(words, widths, strict=True)]
    if sum(least) > room:
        return None
    while sum(widths) > room:
        given = [at for at, width in enumerate(widths) if width > least[at]]
        widths[max(given, key=lambda at: widths[at])] -= 1
    return widths


def lay_out_row(header: Sequence[str], row: Sequence[str], width: int) -> list[str]:
    """Return a table's row as lines: the first cell, then ``name: value`` each.

    Empty values are left out. Without a header the row is a name and its value.
    """
    first, *values = row
    names = header[1:]
    if not any(header):  # two columns without a header: a name and its value
        return wrap(": ".join(row), width)
    lines = wrap(first, width)
    for name, cell in zip(names, values, strict=True):
        lines += wrap(f"  {name}: {cell}", width, hang="    ") if cell else []
    return lines


def measure_widest(lines: Iterable[str]) -> int:
    """Return the cells of the widest line; 0 without lines."""
    return max(map(count_cells, lines), default=0)


def limit_lines(lines: Sequence[str], count: int, what: str = "more lines") -> list[str]:
    """Return at most ``count`` lines; if some are left out, the last one counts them."""
    if len(lines) <= count:
        return list(lines)
    if count <= 0:
        return []
    return [*lines[: count - 1], f"+ {len(lines) - count + 1} {what}"]


def _take_cells(text: str, width: int) -> str:
    """Return the longest beginning of the text that takes at most ``width`` cells."""
    taken = 0
    for place, character in enumerate(text):
        taken += count_cells(character)
        if taken > width:
            return text[:place]
    return text
