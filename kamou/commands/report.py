"""``kamou report``: the results page's figures, in the terminal or as JSON."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import click

from kamou.commands.book import open_database
from kamou.commands.options import config_option, data_dir_option, json_option, resolve
from kamou.commands.printing import print_json, print_table, say, when
from kamou.data_directory.folder import DataFolder
from kamou.settings.config import Resolved

MINUS = "\N{MINUS SIGN}"  # of the pages; other tools read the hyphen as one
TRADES = "closed trades"

Cell = Callable[[Any], str]


# The rounding is the pages'. It is imported late: a run, which imports every verb, needs no page.


def money(value: str) -> str:
    """An amount to cents."""
    from kamou.web import format as fmt

    return fmt.money(Decimal(value)).replace(MINUS, "-")


def percent(value: float, *, signed: bool = False, places: int = 2) -> str:
    """A fraction in percent."""
    from kamou.web import format as fmt

    return fmt.percent(value, signed=signed, places=places).replace(MINUS, "-")


def number(value: float, *, signed: bool = False, places: int = 2) -> str:
    """A ratio."""
    from kamou.web import format as fmt

    return fmt.number(value, signed=signed, places=places).replace(MINUS, "-")


def in_r(value: float) -> str:
    """A multiple of what a trade planned to risk."""
    return f"{number(value, signed=True, places=3)} R"


FIGURES: dict[str, tuple[str, Cell, str]] = {  # name for people, how it is shown, what is counted
    "return_twr": ("Return", partial(percent, signed=True), "complete days"),
    "max_drawdown": ("Maximum drawdown at day closes", percent, "complete days"),
    "sharpe": ("Sharpe ratio", number, "complete days"),
    "sortino": ("Sortino ratio", number, "complete days"),
    "max_drawdown_snapshots": ("Maximum drawdown", percent, "equity snapshots"),
    "win_rate": ("Win rate", partial(percent, places=1), TRADES),
    "expectancy_r": ("Expectancy", in_r, TRADES),
    "profit_factor": ("Profit factor", number, TRADES),
}
DAY_COLUMNS: dict[str, tuple[str, Cell]] = {
    "day": ("Day", str),
    "return": ("Return", partial(percent, signed=True)),
    "pnl": ("Result", money),
    "trades": ("Trades", str),
    "fees": ("Fees", money),
    "funding": ("Funding", money),
    "equity_end": ("Equity", money),
}
STRATEGY_COLUMNS: dict[str, tuple[str, Cell]] = {
    "name": ("Strategy", lambda name: name.replace("_", " ")),
    "trades": ("Trades", str),
    "pnl_net": ("Net", money),
    "fees": ("Fees", money),
    "funding": ("Funding", money),
    "slippage": ("Slippage", money),
}


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
    trades = results["performance"]["trades"]["n"]
    print_table(
        f"{results['mode']}: {since} to {until} UTC, {trades:,} closed trades",
        ("figure", "value", "95% interval", "counted", "why not"),
        [
            figure_cells(name, figure)
            for name, figure in results["performance"].items()
            if name in FIGURES
        ],
    )
    currency = results["currency"]
    if rows:
        _print_rows(f"days, money in {currency}", rows, DAY_COLUMNS)
    if results["strategies"]:
        _print_rows(f"strategies, money in {currency}", results["strategies"], STRATEGY_COLUMNS)
    for notice in results["notices"]:
        say(notice)


def figure_cells(name: str, figure: dict[str, Any]) -> tuple[str, ...]:
    """Name, value, interval and count of one figure; or the reason for having no figure."""
    title, show, counted = FIGURES[name]
    value, low, high = (figure.get(key) for key in ("value", "low", "high"))
    interval = ""
    if low is not None:
        interval = f"{show(low)} to {show(high) if high is not None else 'no upper bound'}"
        interval = ", ".join(filter(None, (interval, _rests_on(figure, counted))))
    count = f"{figure['n']:,} {counted if figure['n'] != 1 else counted.removesuffix('s')}"
    return (
        title,
        "" if value is None else show(value),
        interval,
        count,
        figure.get("reason") or "",
    )


def _rests_on(figure: dict[str, Any], counted: str) -> str:
    """Return what the interval rests on, unless it is the figure's own count."""
    from kamou.web import format as fmt

    found = figure.get("interval", {}).get("n")
    return fmt.rests_on(figure["n"], found, counted.removesuffix("s"))


def _print_rows(
    title: str, rows: list[dict[str, Any]], columns: dict[str, tuple[str, Cell]]
) -> None:
    cells = [
        [None if row.get(key) is None else show(row[key]) for key, (_, show) in columns.items()]
        for row in rows
    ]
    print_table(title, [name for name, _ in columns.values()], cells)


def _results(resolved: Resolved, days: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The same document as ``/results.json``, and this many days, oldest first."""
    from kamou.store.day_rows import open_row
    from kamou.store.latest_run import latest_run
    from kamou.store.public_queries import midnight_marks, newest_days
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
        rows = (((now,) if now else ()) + newest_days(reader, limit=days))[:days]
        marks = midnight_marks(reader, rows)
    return document, [day_document(row, marks) for row in rows[::-1]]
