"""``kamou report``: the results page's figures, in the terminal or as JSON."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from kamou.commands.book import open_database
from kamou.commands.options import config_option, data_dir_option, json_option, resolve
from kamou.commands.printing import print_json, print_table, say, when
from kamou.data_directory.folder import DataFolder
from kamou.settings.config import Resolved

DAY_COLUMNS = ("day", "return", "pnl", "trades", "fees", "funding", "equity_end")
STRATEGY_COLUMNS = ("name", "trades", "pnl_net", "fees", "funding", "slippage")

MONEY = frozenset({"pnl", "pnl_net", "fees", "funding", "slippage", "equity_end"})


@click.command()
@config_option
@data_dir_option
@json_option
@click.option("--days", type=click.IntRange(0, 10_000), default=14, metavar="N", help="Shown days.")
def report(config_path: Path | None, data_dir: Path | None, as_json: bool, days: int) -> None:
    """Print the performance: every figure with its count and interval, bad days included."""
    resolved = resolve(config_path, data_dir=data_dir)
    results, rows = _results(resolved, days)
    if as_json:
        print_json(results)
        return
    since, until = when(results["since_ms"]), when(results["as_of_ms"])
    print_table(
        f"{results['mode']}: {since} to {until} UTC",
        ("figure", "value", "low", "high", "n", ""),
        [(name, *figure_cells(figure)) for name, figure in results["performance"].items()],
    )
    if rows:
        print_table("days", DAY_COLUMNS, _cells(rows, DAY_COLUMNS))
    if results["strategies"]:
        print_table("strategies", STRATEGY_COLUMNS, _cells(results["strategies"], STRATEGY_COLUMNS))
    for notice in results["notices"]:
        say(notice)


def figure_cells(figure: dict[str, Any]) -> tuple[object, ...]:
    """Value, interval and count; or the reason for having no figure."""
    shown = (_rounded(figure.get(name)) for name in ("value", "low", "high"))
    return (*shown, figure.get("n"), figure.get("reason", ""))


def _cells(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> list[list[object]]:
    return [[_cell(row, column) for column in columns] for row in rows]


def _cell(row: dict[str, Any], column: str) -> object:
    value = row.get(column)
    return f"{Decimal(value):,.2f}" if column in MONEY and value is not None else _rounded(value)


def _rounded(value: object) -> object:
    return f"{value:.4f}" if isinstance(value, float) else value


def _results(resolved: Resolved, days: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The same document as ``/results.json``, and this many days, oldest first."""
    from kamou.store.day_rows import open_row
    from kamou.store.latest_run import latest_run
    from kamou.store.public_queries import newest_days
    from kamou.web.daily import Memo
    from kamou.web.documents import day_document, results_document
    from kamou.web.results import gather
    from kamou.web.site import Site

    settings = resolved.settings
    assumed_live = settings.mode == "demo"
    given = Site(mode=settings.mode, currency=settings.currency, assumed_live=assumed_live)
    with contextlib.closing(open_database(DataFolder(settings.data_dir))) as reader:
        site = given.as_run(latest_run(reader))
        document = results_document(gather(reader, site, Memo()))
        now = open_row(reader)
        rows = ((now,) if now else ()) + newest_days(reader, limit=days)
    return document, [day_document(row) for row in rows[:days][::-1]]
