"""Printing of lines, tables, frames, JSON and progress; and ``format_time``.

Results go to standard output, progress and errors to standard error. All output of the verbs passes
through this module. It escapes text from outside (symbols, file names, reasons, responses), so that
such text can neither move the cursor nor start a new line.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

import attrs
import click

from kamou.commands.text_layout import count_cells, fit_columns, lay_out_row, wrap
from kamou.escaping import escape_text
from kamou.runtime import leveled_lines

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

PLAIN_WIDTH = 200  # columns without a terminal: wide enough that nothing is cut
DEFAULT_COLUMNS = 80  # width of a terminal that does not state it
CELL_FRAME = 3  # columns around a table's cell: a space on both sides and a line
TROUBLE = "! "  # start of a line that needs the operator's attention
QUOTED = "| "  # start of a line whose text is not Kamou's
ERASE = "\r\x1b[K"  # erases the cursor's line
LINE_CHARS_MAX = 4_000  # of one printed line: two paths of maximum length and the message


@attrs.define
class Output:
    """State of a verb's output; the ``obj`` of its click context."""

    begun: bool = False  # results were printed


def _mark_begun() -> None:
    context = click.get_current_context(silent=True)
    if context is not None and isinstance(context.obj, Output):
        context.obj.begun = True


def print_line(line: str, *, err: bool = False) -> None:
    """Print one line on standard output, or on standard error if ``err``."""
    if not err:
        _mark_begun()
    click.echo("\n".join(_fit_line(line, sys.stderr if err else sys.stdout)), err=err)


def print_error_line(line: str) -> None:
    """Print one line on standard error."""
    print_line(line, err=True)


def write_line_and_bar(line: str, *, prefix: str = "", erase: bool = False, bar: str = "") -> None:
    """Print one line on standard error, and a progress bar below it.

    Args:
        line: the text, which is escaped.
        prefix: text before the line, such as its time.
        erase: erase the cursor's line first, because a bar is there.
        bar: one short line; empty: no bar.
    """
    text = "\n".join(_fit_line(prefix + line, sys.stderr))
    sys.stderr.write(f"{ERASE if erase else ''}{text}\n{escape_text(bar)}")
    sys.stderr.flush()


def draw_bar(bar: str) -> None:
    """Draw a progress bar over the last one; if ``bar`` is empty, only erase that one."""
    sys.stderr.write(ERASE + escape_text(bar))
    sys.stderr.flush()


def print_json(value: object, *, indent: int | None = 2) -> None:
    """Print one JSON document in ASCII, with the keys in their order.

    Values of types that JSON does not have are written as text.
    """
    text = json.dumps(value, indent=indent, default=str)
    _mark_begun()
    click.echo(text)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table of any values; None gives an empty cell."""
    print_text_table(
        title, columns, [["" if cell is None else str(cell) for cell in row] for row in rows]
    )


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values as a table without a header."""
    print_table("", ("", ""), facts.items())


def print_text_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table without broken words; if too wide, each row as names and values."""
    rows = [[_escape(cell) for cell in row] for row in rows]
    width = output_size()[0]
    widths = fit_columns([header, *rows], width - len(header) * CELL_FRAME - 1)
    _mark_begun()
    if widths is not None:
        from rich.console import Console

        Console(width=width).print(_make_table(title, header, rows, widths))
        return
    lines = wrap(title, width) if title else []
    for row in rows:
        lines += lay_out_row(header, row, width)
    click.echo("\n".join(lines))


def line_width(stream: TextIO) -> int | None:
    """Return the maximum width of a line in columns; None: lines are not broken.

    The width is the terminal's, else that of the variable ``COLUMNS``.
    """
    return terminal_columns(stream) or _read_columns_variable() or None


def terminal_columns(stream: TextIO) -> int | None:
    """Return the width of the stream's terminal, in columns; None without a terminal."""
    if not stream.isatty():
        return None
    with contextlib.suppress(OSError, ValueError):
        if columns := os.get_terminal_size(stream.fileno()).columns:
            return columns
    return _read_columns_variable() or DEFAULT_COLUMNS


def _read_columns_variable() -> int:
    """Return the environment variable ``COLUMNS``; 0 if it is no number."""
    given = os.environ.get("COLUMNS", "")
    return int(given) if given.isdecimal() else 0


def _fit_line(line: str, stream: TextIO) -> list[str]:
    """Return the escaped line in lines of the width; a longer word stays whole.

    Every line of a quoted text starts with ``QUOTED``.
    """
    text = _escape(line)
    width = line_width(stream)
    if width is None or count_cells(text) <= width:
        return [text]
    indent = text[: len(text) - len(text.lstrip(" "))]
    hang = QUOTED if text.startswith(QUOTED) else f"{indent}  "
    return wrap(
        text, width, hang=hang, break_words=False
    )  # paths and digests stay whole, to be copied


def _escape(text: str) -> str:
    return escape_text(text, chars_max=LINE_CHARS_MAX)


def output_size() -> tuple[int, int | None]:
    """Return columns and lines of standard output; lines are None without a terminal.

    Without a terminal the columns are those of the variable ``COLUMNS``, else ``PLAIN_WIDTH``. A
    terminal that does not state its size has those of ``COLUMNS``, else ``DEFAULT_COLUMNS``, and 24
    lines.
    """
    columns = _read_columns_variable()
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
    """Print lines that already fit the width, each as ``_color_trouble`` returns it."""
    _mark_begun()
    for line in lines:
        click.echo(_color_trouble(line))


@contextlib.contextmanager
def draw_frames() -> Iterator[Callable[[Sequence[str]], None]]:
    """Yield a function that draws a frame over the last one, on the alternate screen.

    At the end the terminal shows its main screen again, unchanged.
    """
    _mark_begun()
    click.echo("\x1b[?1049h\x1b[?25l\x1b[2J", nl=False)  # alternate screen, no cursor, clear
    try:
        yield _draw_frame
    finally:
        click.echo("\x1b[?25h\x1b[?1049l", nl=False)


def _draw_frame(lines: Sequence[str]) -> None:
    """Draw the lines from the top and clear the rest of the screen, without scrolling."""
    drawn = "\x1b[K\r\n".join(_color_trouble(line) for line in lines)
    click.echo(f"\x1b[H{drawn}\x1b[K\x1b[J", nl=False)


def _color_trouble(line: str) -> str:
    """Return the line, escaped; on a terminal red if it starts with ``TROUBLE``.

    The environment variable ``NO_COLOR`` prevents the color.
    """
    line = escape_text(line, chars_max=LINE_CHARS_MAX)
    if not is_terminal():
        return line
    if "NO_COLOR" in os.environ or not line.startswith(TROUBLE):
        return line
    return click.style(line, fg="red", bold=True)


def _make_text(value: str) -> Text:
    """Return a rich text that ignores markup in ``value``."""
    from rich.text import Text

    return Text(value)


def _make_table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]
) -> Table:
    """Return a rich table that ignores markup in its cells."""
    from rich.table import Table

    made = Table(
        title=_make_text(title) if title else None,
        title_justify="left",
        header_style="bold",
        show_header=any(header),
    )
    for column, width in zip(header, widths, strict=True):
        made.add_column(_make_text(column), width=width)
    for row in rows:
        made.add_row(*map(_make_text, row))
    return made


def format_time(at_ms: int | None) -> str:
    """Return a UTC time such as ``2025-10-10 21:00:02``; empty for None."""
    if at_ms is None:
        return ""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


@contextlib.contextmanager
def show_progress(*, quiet: bool = False) -> Iterator[leveled_lines.Progress]:
    """Yield a function that shows progress on standard error.

    The function takes a task's name, its steps done and its steps in total. A terminal gets a bar
    with the rate and the time left, which a thread draws until the task is complete. Without a
    terminal each new task is one line. If ``quiet``, nothing is shown.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft
    from rich.text import Text as RichText

    class Rate(ProgressColumn):
        """Column with the steps per second; empty while the rate is unknown."""

        def render(self, task: Task) -> RichText:
            return RichText("" if task.speed is None else f"{task.speed:,.1f}/s")

    console = Console(stderr=True)
    done_of = TextColumn("{task.completed:,.0f} of {task.total:,.0f}", markup=False)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        done_of,
        Rate(),
        TimeLeft(),
    )
    reported: set[str] = set()
    silent = quiet or not console.is_terminal
    bar = Progress(*columns, console=console, transient=True, disable=silent)
    task = bar.add_task("", total=None)

    def report(what: str, done: int, total: int) -> None:
        bar.update(task, completed=done, total=total, description=escape_text(what))
        if done < total:
            bar.start()
        else:
            bar.stop()
        if silent and not quiet and what not in reported:
            reported.add(what)
            print_line(f"{what} ...", err=True)

    try:
        yield report
    finally:
        bar.stop()
