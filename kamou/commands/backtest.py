"""``kamou backtest``: the production actors over recorded data, in simulated time."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kamou.commands.options import (
    GivenPath,
    OutputPath,
    config_option,
    data_dir_option,
    expand_path,
    resolve,
)
from kamou.commands.printing import format_time, print_json, print_table, show_progress
from kamou.core.words import count_words, strategy_name
from kamou.data_directory.folder import write_atomically
from kamou.errors import CheckFailedError
from kamou.runs.backtest_options import BacktestOptions
from kamou.runtime.leveled_lines import Progress
from kamou.settings.config import Resolved

if TYPE_CHECKING:
    from kamou.runs.backtest_report import BacktestReport

Timerange = tuple[int | None, int | None]  # [from, to), ms UTC; None: unbounded


def parse_names(
    ctx: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """Return ``a,b`` as a tuple; None if the option is not given."""
    if value is None:
        return None
    found = tuple(part.strip() for part in value.split(",") if part.strip())
    if not found:
        example = "mean_reversion,oi_momentum" if parameter.name == "strategies" else "BTCUSDT"
        raise click.BadParameter(
            f"{value!r} is empty; expected a comma-separated list such as {example}", ctx, parameter
        )
    return found


def parse_timerange(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Timerange:
    """Return ``20251001-20251101`` as two instants in ms; an omitted side is None."""
    if value is None:
        return (None, None)
    first, dash, last = value.partition("-")
    if not dash or not (first or last):
        raise click.BadParameter(f"expects YYYYMMDD-YYYYMMDD, got {value!r}", ctx, parameter)
    try:
        start, end = (_day_ms(text) if text else None for text in (first, last))
    except ValueError as error:
        raise click.BadParameter(f"expects YYYYMMDD-YYYYMMDD: {error}", ctx, parameter) from error
    if start is not None and end is not None and start >= end:
        raise click.BadParameter(
            f"{value} contains no day; expected FROM before TO", ctx, parameter
        )
    return (start, end)


def _day_ms(text: str) -> int:
    if len(text) != 8:
        raise ValueError(f"{text!r} is not a day such as 20251001")
    return round(datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).timestamp() * 1000)


class DatasetPath(click.Path[str]):
    """A dataset's name, or the path of a directory, as text."""

    def __init__(self) -> None:
        super().__init__(path_type=str)

    def convert(
        self, value: GivenPath, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        text = os.fspath(value)
        return str(expand_path(text, param, ctx)) if text.startswith("~") else text


@click.command()
@click.option(
    "--data",
    type=DatasetPath(),
    required=True,
    metavar="DIR|NAME",
    help="A directory with bars, or the name of a dataset.",
)
@click.option(
    "--timerange",
    "bounds",
    callback=parse_timerange,
    metavar="FROM-TO",
    help="Trade from FROM until before TO, like 20251001-20251101; earlier bars are for warm-up.",
)
@click.option("--strategies", callback=parse_names, metavar="A,B", help="Only these strategies.")
@click.option("--symbols", callback=parse_names, metavar="A,B", help="Only these symbols.")
@click.option(
    "--json",
    "json_file",
    type=OutputPath(allow_dash=True),
    metavar="FILE",
    help="Write the report as JSON; - for standard output.",
)
@click.option(
    "--journal",
    type=OutputPath(),
    metavar="FILE",
    help="Keep the journal of the run in this new SQLite file.",
)
@click.option(
    "--keep-going",
    is_flag=True,
    help="Count the failures of strategies in the report instead of stopping at the first.",
)
@config_option
@data_dir_option
def backtest(
    data: str,
    bounds: Timerange,
    strategies: tuple[str, ...] | None,
    symbols: tuple[str, ...] | None,
    json_file: Path | None,
    journal: Path | None,
    keep_going: bool,
    config_path: Path | None,
    data_dir: Path | None,
) -> None:
    """Run the production actors over recorded data on a simulated clock, and report.

    Every enabled strategy counts as live. A strategy that raises an error or gives invalid scores
    stops the backtest with its traceback and exit code 1. Exit code 6: the independent checker
    found a violation of the hard rules. A backtest is not a forecast.
    """
    resolved = resolve(
        config_path, run_files=True, data_dir=data_dir, strategies__enabled=strategies
    )
    options = BacktestOptions(
        timerange=bounds, symbols=symbols, journal=journal, keep_going=keep_going
    )
    to_stdout = str(json_file) == "-"
    with show_progress(quiet=to_stdout) as report:
        result = _run_backtest(resolved, data, options, report)
    text = json.dumps(result, indent=2, default=str) + "\n"
    if to_stdout:
        print_json(result)
    else:
        if json_file is not None:
            write_atomically(json_file, text)
        _print_report(result)
    if violations := result["violations"]:
        raise CheckFailedError(
            f"the backtest has {count_words(violations, 'violation')} of the hard rules; read the"
            " report"
        )


def _run_backtest(
    resolved: Resolved, data: str, options: BacktestOptions, report: Progress
) -> BacktestReport:
    from kamou.runs import backtest as composition

    return composition.run(resolved, data=data, options=options, progress=report)


MONEY_ROWS = {
    "equity_start": "equity at the start",
    "equity_end": "equity at the end",
    "fees": "fees",
    "funding": "funding",
    "slippage": "slippage",
    "pnl_net": "net",
}


def _format_figure(name: str, value: object) -> tuple[str, object]:
    """Return name and rounded value of a figure in words; the JSON has all digits."""
    if name in MONEY_ROWS:
        return MONEY_ROWS[name], f"{Decimal(str(value)):,.2f}"
    if name in ("first_ms", "last_ms"):
        assert isinstance(value, int), value
        return f"{name.removesuffix('_ms')} bar (UTC)", format_time(value)
    if name == "max_drawdown":
        return "maximum drawdown", f"{value:.2%}"
    if name == "worst_overshoot_r":
        return "worst overshoot", f"{Decimal(str(value)):.3f} of the stop distance"
    return name.replace("_", " "), value


def _print_report(result: BacktestReport) -> None:
    by_strategy = result.get("by_strategy") or {}
    left_out = {"by_strategy", "strategy_failures", "strategy_files"}
    if not result.get("violation_list"):
        left_out.add("violation_list")
    rows = [_format_figure(name, value) for name, value in result.items() if name not in left_out]
    print_table("backtest (the promotion gate is assumed live)", ("figure", "value"), rows)
    if by_strategy:
        columns = sorted({key for each in by_strategy.values() for key in each})
        shown = [
            dict(_format_figure(key, each.get(key)) for key in columns)
            for each in by_strategy.values()
        ]
        cells = [
            (strategy_name(name), *row.values())
            for name, row in zip(by_strategy, shown, strict=True)
        ]
        print_table("by strategy", ("strategy", *shown[0]), cells)
    if files := result.get("strategy_files"):
        print_table("strategies of your own", ("strategy", "sha256 of the file"), files.items())
    if failures := result.get("strategy_failures"):
        head = ("strategy", "kind", "place", "count", "first", "symbol", "error")
        lines = [
            (
                *(each[name] for name in ("strategy", "kind", "place", "count")),
                format_time(each["first_at_ms"]),
                each["symbol"] or "not known",
                each["error"],
            )
            for each in failures
        ]
        print_table("failures of strategies", head, lines)
