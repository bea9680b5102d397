"""Output: JSON or tables on standard output, progress on standard error.

Every line that a verb prints passes here. Text from outside (symbols, file names, reasons, what a
listener answered) is escaped: it can neither move the cursor nor begin a line of its own.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs
import click

from kamou.escaping import escape_text

Report = Callable[[str, int, int], None]  # what is being done, steps done, of how many

PLAIN_WIDTH = 200  # columns, where no terminal tells its width: wide enough that nothing is cut


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
    click.echo(escape_text(line, chars_max=LINE_CHARS_MAX), err=err)


def say_error(line: str) -> None:
    """Print one line on standard error."""
    say(line, err=True)


def print_json(value: object, *, indent: int | None = 2) -> None:
    """One document, keys as given; what JSON does not know is written as text.

    Its text is ASCII: every other character, control characters too, is a JSON escape.
    """
    text = json.dumps(value, indent=indent, default=str)
    _begin()
    click.echo(text)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on standard output; empty cells for None."""
    show(table(title, columns, rows))


def print_facts(facts: Mapping[str, object], *, as_json: bool) -> None:
    """Names and values, a line each, or JSON."""
    if as_json:
        print_json(facts)
    else:
        show(table("", ("", ""), facts.items()))


def show(*parts: object) -> None:
    """Print tables and lines; wide where no terminal is at the other end, so nothing is cut."""
    from rich.console import Console

    _begin()
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    for part in parts:
        console.print(_plain(part) if isinstance(part, str) else part)


def grouped(*parts: Any) -> Any:
    """Several tables and lines as one, for a display that is redrawn."""
    from rich.console import Group

    return Group(*(_plain(part) if isinstance(part, str) else part for part in parts))


def _plain(value: object) -> Any:
    """Text as it is, without markup, on one line."""
    from rich.text import Text

    return Text(escape_text(str(value), chars_max=LINE_CHARS_MAX))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Any:
    """A rich table; every cell is shown as it is, markup and all."""
    from rich.table import Table

    made = Table(
        title=_plain(title) if title else None,
        title_justify="left",
        header_style="bold",
        show_header=any(columns),
    )
    for column in columns:
        made.add_column(_plain(column), overflow="fold")
    for row in rows:
        made.add_row(*(_plain("" if cell is None else cell) for cell in row))
    return made


def when(at_ms: int | None) -> str:
    """A UTC time for a person; empty when unknown."""
    if at_ms is None:
        return ""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


@contextlib.contextmanager
def progress(*, quiet: bool = False) -> Iterator[Report]:
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
