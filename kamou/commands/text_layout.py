"""Lines of plain text that fit a width: cut, wrapped, flowed, or in columns.

Widths are in cells of a terminal: a wide character takes two. The caller escapes text from outside
before it puts the text into a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

CUT = ".."  # at the end of what was cut
GAP = "  "  # between two pieces or columns
READABLE = 14  # cells of a column of text that is broken into lines


def cells(text: str) -> int:
    """Return how many cells of a terminal the text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, width: int) -> str:
    """Return the text in at most ``width`` cells; what was cut ends in two dots."""
    if cells(text) <= width:
        return text
    room = max(0, width - len(CUT))
    return (_beginning(text, room) + CUT)[:width] if width > 0 else ""


def wrap(text: str, width: int, *, hang: str = "  ", break_words: bool = True) -> list[str]:
    """Return the text in lines, broken at spaces; the lines after the first are indented.

    Args:
        break_words: break a word that is longer than a line; False: let it stand out.
    """
    lines: list[str] = []
    line, empty = text[: len(text) - len(text.lstrip(" "))], True
    for word in text.split():
        joined = line + word if empty else f"{line} {word}"
        if cells(joined) <= width:
            line, empty = joined, False
            continue
        if not empty:
            lines.append(line)
            line = hang
        line, empty = line + word, False
        while break_words and cells(line) > width:
            begun = _beginning(line, width)
            if cells(begun) <= cells(hang):  # not even one more character has room
                return [*lines, cut(line, width)]
            lines.append(begun)
            line = hang + line[len(begun) :]
    return [*lines, line]


def flow(pieces: Iterable[str], width: int, *, indent: str = "  ") -> list[str]:
    """Return the pieces in lines, as many to a line as fit, none broken that fits a line."""
    lines: list[str] = []
    line = ""
    for piece in pieces:
        joined = line + GAP + piece if line else indent + piece
        if cells(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        *full, line = wrap(indent + piece, width, hang=indent + "  ")
        lines += full
    return [*lines, line] if line else lines


def columns(rows: Sequence[Sequence[str]], *, right: Iterable[int] = ()) -> list[str]:
    """Return the rows, the header first, in columns as wide as their widest cell.

    Args:
        rows: all of one length.
        right: numbers of the columns that are aligned right.
    """
    aligned = set(right)
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    made = []
    for row in rows:
        parts = []
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            pad = " " * (width - cells(cell))
            parts.append(pad + cell if number in aligned else cell + pad)
        made.append(GAP.join(parts).rstrip())
    return made


def fit_columns(rows: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """Return widths of columns that need no word broken; None if the room is too small for that.

    The widest columns give way first. None of them becomes narrower than ``READABLE`` cells.
    """
    texts = list(zip(*rows, strict=True))
    widths = [max(map(cells, column)) for column in texts]
    words = [
        max((cells(word) for cell in column for word in cell.split()), default=0)
        for column in texts
    ]
    least = [max(word, min(width, READABLE)) for word, width in zip(words, widths, strict=True)]
    if sum(least) > room:
        return None
    while sum(widths) > room:
        given = [at for at, width in enumerate(widths) if width > least[at]]
        widths[max(given, key=lambda at: widths[at])] -= 1
    return widths


def named_values(header: Sequence[str], row: Sequence[str], width: int) -> list[str]:
    """Return one row of a table as lines: its first cell, then each value after its name."""
    first, *cells_ = row
    names = header[1:]
    if not any(header):  # two columns without a header: a name and its value
        return wrap(": ".join(row), width)
    lines = wrap(first, width)
    for name, cell in zip(names, cells_, strict=True):
        lines += wrap(f"  {name}: {cell}", width, hang="    ") if cell else []
    return lines


def widest(lines: Iterable[str]) -> int:
    """Return how many cells the widest line takes."""
    return max(map(cells, lines), default=0)


def limited(lines: Sequence[str], count: int, what: str = "more lines") -> list[str]:
    """Return at most ``count`` lines; the last says how many are left out."""
    if len(lines) <= count:
        return list(lines)
    if count <= 0:
        return []
    return [*lines[: count - 1], f"+ {len(lines) - count + 1} {what}"]


def _beginning(text: str, width: int) -> str:
    """Return as much of the text as fits."""
    taken = 0
    for place, character in enumerate(text):
        taken += cells(character)
        if taken > width:
            return text[:place]
    return text
