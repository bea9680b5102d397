"""``kamou backtest``: the production actors over recorded data, in simulated time."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kamou.commands.interruption import catch_first_interrupt
from kamou.commands.options import (
    NameOrPath,
    OutputPath,
    config_option,
    data_dir_option,
    resolve,
)
from kamou.commands.printing import output_size, print_json, print_lines, show_progress
from kamou.core.words import count_words
from kamou.data_directory.folder import write_atomically
from kamou.errors import CheckFailedError
from kamou.runs.backtest_options import BacktestOptions
from kamou.runs.watching import Watch
from kamou.settings.config import Resolved

if TYPE_CHECKING:
    from kamou.core.record.backtest_document import BacktestReport

STOPPING = "interrupted: the report follows; Ctrl-C again ends it without a report"

Timerange = tuple[int | None, int | None]  # [from, to), ms UTC; None: unbounded


def parse_names(
    ctx: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """Return ``a,b`` as a tuple; None if the option is not given.

    Raises:
        click.BadParameter: the list has no name.
    """
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
    """Return ``20251001-20251101`` as two instants, ms UTC; an omitted side is None.

    Both are None if the option is not given.

    Raises:
        click.BadParameter: the value has another form, names a day that does not exist, or
            contains no day.
    """
    if value is None:
        return (None, None)
    first, dash, last = value.partition("-")
    if not dash or not (first or last):
        raise click.BadParameter(
            f"expects FROM-TO such as 20251001-20251101, got {value!r}", ctx, parameter
        )
    try:
        start, end = (_day_ms(text) if text else None for text in (first, last))
    except ValueError as error:
        raise click.BadParameter(
            f"expects FROM-TO such as 20251001-20251101: {error}", ctx, parameter
        ) from error
    if start is not None and end is not None and start >= end:
        raise click.BadParameter(f"{value} contains no day; FROM must be before TO", ctx, parameter)
    return (start, end)


def _day_ms(text: str) -> int:
    if len(text) != 8:
        raise ValueError(f"{text!r} is not a day such as 20251001")
    return round(datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).timestamp() * 1000)


@click.command()
@click.option(
    "--data",
    type=NameOrPath(),
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
    "--html",
    "html_file",
    type=OutputPath(),
    metavar="FILE",
    help="Write the report as one HTML file that needs no other.",
)
@click.option(
    "--journal",
    type=OutputPath(),
    metavar="FILE",
    help="Keep the journal in this new SQLite file, for report, why and site --database FILE.",
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
    html_file: Path | None,
    journal: Path | None,
    keep_going: bool,
    config_path: Path | None,
    data_dir: Path | None,
) -> None:
    """Run the production actors over recorded data on a simulated clock, and report.

    Every enabled strategy counts as live. Without --keep-going, a strategy that raises an error or
    gives invalid scores stops the backtest with its traceback and exit code 1. Exit code 6: the
    independent checker found a violation of the hard rules. Ctrl-C ends the backtest after its
    cycle, reports the part that was tested, and gives exit code 130. A backtest is not a forecast.
    """
    resolved = resolve(
        config_path, run_files=True, data_dir=data_dir, strategies__enabled=strategies
    )
    options = BacktestOptions(
        timerange=bounds, symbols=symbols, journal=journal, keep_going=keep_going
    )
    to_stdout = str(json_file) == "-"
    with show_progress(quiet=to_stdout) as report, catch_first_interrupt(STOPPING) as is_stopping:
        watch = Watch(progress=report, is_stopping=is_stopping)
        result = _run_backtest(resolved, data, options, watch)
    if html_file is not None:
        _write_page(html_file, result)
    if to_stdout:
        print_json(result)
    else:
        if json_file is not None:
            write_atomically(json_file, write_report(result))
        _print_report(result)
    if violations := result["violations"]:
        raise CheckFailedError(
            f"the backtest has {count_words(violations, 'violation')} of the hard rules; the report"
            " lists them"
        )
    if result["tested"]["interrupted"]:
        raise click.Abort


def _run_backtest(
    resolved: Resolved, data: str, options: BacktestOptions, watch: Watch
) -> BacktestReport:
    from kamou.runs import backtest as composition

    return composition.run(resolved, data=data, options=options, watch=watch)


def write_report(result: BacktestReport) -> str:
    """Return the report as JSON text, each key and each row of a list on its own line."""
    parts = []
    for key, value in result.items():
        if isinstance(value, list) and value:
            text = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"
        else:
            text = json.dumps(value)
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _write_page(path: Path, result: BacktestReport) -> None:
    from kamou.web.backtest_page import render_backtest

    write_atomically(path, render_backtest(result))


def _print_report(result: BacktestReport) -> None:
    from kamou.commands.backtest_text import report_lines

    print_lines(report_lines(result, output_size()[0]))
