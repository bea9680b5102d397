"""Output: JSON or tables on standard output, progress on standard error.

Every line that a verb prints passes here. Text from outside (symbols, file names, reasons, what a
listener answered) is escaped: it can neither move the cursor nor begin a line of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

import attrs
import click

from kamou.commands.text_layout import cells, fit_columns, named_values, wrap
from kamou.escaping import escape_text
from kamou.runtime import leveled_lines

PLAIN_WIDTH = 200  # columns, where no terminal tells its width: wide enough that nothing is cut


DEFAULT_COLUMNS = 80  # of a terminal that does not say
CELL_FRAME = 3  # of a cell of a table: a space on both sides and a line
TROUBLE = "! "  # at the beginning of a line that says what needs the operator

QUOTED = "| "  # at the beginning of a line that is not ours
ERASE = "\r\x1b[K"  # the line on which the cursor stands
LINE_CHARS_MAX = 4_000  # of one line of ours: two paths of any length that work, and the words


@attrs.define
class Output:
    """Whether a verb has begun to print its results; the ``obj`` of the verb's context."""

    begun: bool = False


def _begin() -> None:
    context = click.get_current_context(silent=True)
    if context is not None and isinstance(context.obj, Output):
        context.obj.begun = True


def say(line: str, *, err: bool = False) -> None:
    """Print one line, whatever is in it."""
    if not err:
        _begin()
    click.echo("\n".join(_fitted(line, sys.stderr if err else sys.stdout)), err=err)


def say_error(line: str) -> None:
    """Print one line on standard error."""
    say(line, err=True)


def put_line(line: str, *, prefix: str = "", erase: bool = False, bar: str = "") -> None:
    """Print one line on standard error, and a bar of progress below it.

    Args:
        line: with any characters in it.
        prefix: before it, its time for one.
        erase: a bar stands on the line where it goes.
        bar: one short line; empty for none.
    """
    text = "\n".join(_fitted(prefix + line, sys.stderr))
    sys.stderr.write(f"{ERASE if erase else ''}{text}\n{escape_text(bar)}")
    sys.stderr.flush()


def put_bar(bar: str) -> None:
    """Draw a bar of progress over the one that stands there; erase it if ``bar`` is empty."""
    sys.stderr.write(ERASE + escape_text(bar))
    sys.stderr.flush()


def print_json(value: object, *, indent: int | None = 2) -> None:
    """One document, keys as given; what JSON does not know is written as text.

    Its text is ASCII: every other character, control characters too, is a JSON escape.
    """
    text = json.dumps(value, indent=indent, default=str)
    _begin()
    click.echo(text)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on standard output; empty cells for None."""
    show_table(
        title, columns, [["" if cell is None else str(cell) for cell in row] for row in rows]
    )


def print_facts(facts: Mapping[str, object]) -> None:
    """Names and values, a line each."""
    print_table("", ("", ""), facts.items())


def show_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table that breaks no word; where it has no room, each row as names and values."""
    rows = [[_escaped(cell) for cell in row] for row in rows]
    width = output_size()[0]
    widths = fit_columns([header, *rows], width - len(header) * CELL_FRAME - 1)
    _begin()
    if widths is not None:
        from rich.console import Console

        Console(width=width).print(_table(title, header, rows, widths))
        return
    lines = wrap(title, width) if title else []
    for row in rows:
        lines += named_values(header, row, width)
    click.echo("\n".join(lines))


def line_width(stream: TextIO) -> int | None:
    """Return how wide a line may be: the terminal, or ``COLUMNS``; None: it is never broken."""
    return terminal_columns(stream) or _given_columns() or None


def terminal_columns(stream: TextIO) -> int | None:
    """Return the width of the terminal behind a stream; None where there is none."""
    if not stream.isatty():
        return None
    with contextlib.suppress(OSError, ValueError):
        if columns := os.get_terminal_size(stream.fileno()).columns:
            return columns
    return _given_columns() or DEFAULT_COLUMNS


def _given_columns() -> int:
    """``COLUMNS`` of the environment; 0 if it says no width."""
    given = os.environ.get("COLUMNS", "")
    return int(given) if given.isdecimal() else 0


def _fitted(line: str, stream: TextIO) -> list[str]:
    """The line, escaped, in lines that fit the width; what is quoted stays behind its bar."""
    text = _escaped(line)
    width = line_width(stream)
    if width is None or cells(text) <= width:
        return [text]
    indent = text[: len(text) - len(text.lstrip(" "))]
    hang = QUOTED if text.startswith(QUOTED) else f"{indent}  "
    return wrap(text, width, hang=hang, break_words=False)  # a path or a digest is copied whole


def _escaped(text: str) -> str:
    return escape_text(text, chars_max=LINE_CHARS_MAX)


def output_size() -> tuple[int, int | None]:
    """Return columns and lines of standard output; lines are None where it is no terminal.

    There the environment's ``COLUMNS`` says the width; without it a line is wide.
    """
    columns = _given_columns()
    if not is_terminal():
        return columns or PLAIN_WIDTH, None
    with contextlib.suppress(OSError, ValueError):
        size = os.get_terminal_size(sys.stdout.fileno())
        if size.columns and size.lines:
            return size.columns, size.lines
    return columns or DEFAULT_COLUMNS, 24


def is_terminal() -> bool:
    """Return True if standard output is a terminal that can be drawn on."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def print_lines(lines: Iterable[str]) -> None:
    """Print lines that were laid out."""
    _begin()
    for line in lines:
        click.echo(_painted(line))


@contextlib.contextmanager
def drawing() -> Iterator[Callable[[Sequence[str]], None]]:
    """Yield what draws a frame in place of the one before it, on a screen of its own.

    At the end the terminal shows again what it showed before.
    """
    _begin()
    click.echo("\x1b[?1049h\x1b[?25l\x1b[2J", nl=False)  # xterm: other screen, no cursor, clear
    try:
        yield _draw
    finally:
        click.echo("\x1b[?25h\x1b[?1049l", nl=False)


def _draw(lines: Sequence[str]) -> None:
    """Draw from the top; the rest of each line and of the screen is cleared. Nothing scrolls."""
    drawn = "\x1b[K\r\n".join(_painted(line) for line in lines)
    click.echo(f"\x1b[H{drawn}\x1b[K\x1b[J", nl=False)


def _painted(line: str) -> str:
    """Return the line, escaped, and red where it says that something is wrong."""
    line = escape_text(line, chars_max=LINE_CHARS_MAX)
    if not is_terminal():
        return line
    if "NO_COLOR" in os.environ or not line.startswith(TROUBLE):
        return line
    return click.style(line, fg="red", bold=True)


def _plain(value: str) -> Any:
    """Text as it is, without markup."""
    from rich.text import Text

    return Text(value)


def _table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]
) -> Any:
    """A rich table; every cell is shown as it is, markup and all."""
    from rich.table import Table

    made = Table(
        title=_plain(title) if title else None,
        title_justify="left",
        header_style="bold",
        show_header=any(header),
    )
    for column, width in zip(header, widths, strict=True):
        made.add_column(_plain(column), width=width)
    for row in rows:
        made.add_row(*map(_plain, row))
    return made


def when(at_ms: int | None) -> str:
    """A UTC time for a person; empty when unknown."""
    if at_ms is None:
        return ""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


@contextlib.contextmanager
def progress(*, quiet: bool = False) -> Iterator[leveled_lines.Progress]:
    """Progress on standard error: a bar on a terminal, elsewhere a line for each new task.

    The bar is drawn, by a thread, from the first report of a task to the one that completes it.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    told: set[str] = set()
    silent = quiet or not console.is_terminal
    bar = Progress(*columns, console=console, transient=True, disable=silent)
    task = bar.add_task("", total=None)

    def report(what: str, done: int, total: int) -> None:
        bar.update(task, completed=done, total=total, description=escape_text(what))
        if done < total:
            bar.start()
        else:
            bar.stop()
        if silent and not quiet and what not in told:
            told.add(what)
            say(f"{what} ...", err=True)

    try:
        yield report
    finally:
        bar.stop()
