"""``kamou report``: the figures of the results page, as tables or as JSON."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import click

from kamou.commands.book import open_database
from kamou.commands.options import (
    check_one_source,
    config_option,
    data_dir_option,
    database_option,
    json_option,
    resolve,
)
from kamou.commands.printing import format_time, print_json, print_line, print_table
from kamou.core.kinds import RunMode
from kamou.data_directory.folder import DataDirectory
from kamou.settings.config import Resolved


@click.command()
@config_option
@data_dir_option
@database_option
@json_option
@click.option(
    "--days",
    type=click.IntRange(0, 10_000),
    default=14,
    metavar="N",
    help="Number of days in the table of days.",
)
def report(
    config_path: Path | None,
    data_dir: Path | None,
    database: Path | None,
    as_json: bool,
    days: int,
) -> None:
    """Print figures, days, strategies and notices of the results page.

    The figures have counts and intervals. --json prints the document of /results.json.
    """
    from kamou.commands import report_text as text

    check_one_source(database, data_dir)
    resolved = resolve(config_path, data_dir=data_dir)
    results, rows = _results(resolved, database, days)
    if as_json:
        print_json(results)
        return
    since, until = format_time(results["since_ms"]), format_time(results["as_of_ms"])
    trades = results["performance"]["trades"]["n"]
    print_table(
        f"{results['mode']}: {since} to {until} UTC, {trades:,} closed trades",
        ("figure", "value", "95% interval", "counted", "why not"),
        [
            text.figure_cells(name, figure)
            for name, figure in results["performance"].items()
            if name in text.REPORT_FIGURES
        ],
    )
    for title, shown, columns in (
        ("days", rows, text.DAY_COLUMNS),
        ("strategies", results["strategies"], text.STRATEGY_COLUMNS),
    ):
        if shown:
            names = [name for name, _ in columns.values()]
            title = f"{title}, money in {results['currency']}"
            print_table(title, names, text.row_cells(shown, columns))
    for notice in results["notices"]:
        print_line(notice)


def _results(
    resolved: Resolved, database: Path | None, days: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the document of ``/results.json`` and the documents of the newest days.

    There are at most ``days`` days, oldest first, the open day included.
    """
    from kamou.store.day_rows import add_up_open_row
    from kamou.store.latest_run import latest_run
    from kamou.store.public_queries import midnight_marks, newest_days
    from kamou.web.daily_figures import Memo
    from kamou.web.documents import day_document, results_document
    from kamou.web.results import gather_results
    from kamou.web.site import Site

    settings = resolved.settings
    assumed_live = settings.mode is RunMode.DEMO
    given = Site(mode=settings.mode, currency=settings.currency, assumed_live=assumed_live)
    with contextlib.closing(open_database(DataDirectory(settings.data_dir), database)) as reader:
        site = given.as_run(latest_run(reader))
        document = results_document(gather_results(reader, site, Memo()))
        now = add_up_open_row(reader)
        rows = (((now,) if now else ()) + newest_days(reader, limit=days))[:days]
        marks = midnight_marks(reader, rows)
    return document, [day_document(row, marks) for row in rows[::-1]]
