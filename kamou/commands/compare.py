"""``kamou compare``: two reports of backtests side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kamou.commands.options import UserPath, json_option
from kamou.commands.printing import TROUBLE, format_time, output_size, print_json, print_lines
from kamou.commands.text_layout import align_columns, fit_line
from kamou.errors import InvalidDataError

if TYPE_CHECKING:
    from kamou.core.record.backtest_document import BacktestReport, TradeReport
    from kamou.core.record.comparison import Comparison

TRADES_LISTED = 20  # listed of each kind; --json has all
REPORT_BYTES_MAX = 1 << 30  # of one file


@click.command()
@click.argument("before", type=UserPath(exists=True, dir_okay=False), metavar="A.json")
@click.argument("after", type=UserPath(exists=True, dir_okay=False), metavar="B.json")
@json_option
def compare(before: Path, after: Path, as_json: bool) -> None:
    """Compare two reports of backtests, with the trades that differ.

    `kamou backtest --json FILE` writes such reports. A line warns for each reason why the
    reports are not comparable: other data, times, currencies or versions, or an interrupted test.
    """
    from kamou.core.record.comparison import compare_reports

    reports = tuple(read_report(path) for path in (before, after))
    found = compare_reports(*reports)
    if as_json:
        print_json(found)
        return
    print_lines(
        line
        for text in _comparison_lines(found, *reports)
        for line in fit_line(text, output_size()[0])
    )


def read_report(path: Path) -> BacktestReport:
    """Return the report in a file.

    Raises:
        InvalidDataError: the file is not a report of a backtest, or is larger than 1 GB.
        OSError: the file cannot be read.
    """
    import msgspec

    from kamou.core.record.backtest_document import BacktestReport as Document

    if path.stat().st_size > REPORT_BYTES_MAX:
        raise InvalidDataError(
            f"{path} is larger than 1 GB; name a file of `kamou backtest --json FILE`"
        )
    try:
        return msgspec.json.decode(path.read_bytes(), type=Document)
    except msgspec.DecodeError as error:  # not JSON, or JSON of another form
        raise InvalidDataError(
            f"{path} is not a report of a backtest: {error}; name a file of"
            " `kamou backtest --json FILE`"
        ) from error


def _comparison_lines(
    found: Comparison, before: BacktestReport, after: BacktestReport
) -> Iterator[str]:
    for place, report in (("A", before), ("B", after)):
        span = report["tested"]
        first, last = (format_time(span[key])[:16] for key in ("from_ms", "as_of_ms"))
        yield (
            f"{place}: {report['data']['name']}, {len(report['data']['symbols'])} symbols,"
            f" {first} to {last} UTC"
        )
    yield from (f"{TROUBLE}{warning}" for warning in found["warnings"])
    if not found["warnings"]:
        yield "the data and the tested times are equal"
    yield ""
    yield from _settings_lines(found)
    yield ""
    yield from _figure_lines(found, before, after)
    yield ""
    yield from _trade_lines(found)


def _settings_lines(found: Comparison) -> Iterator[str]:
    if not found["settings"]:
        yield "the settings that change trades are equal"
        return
    yield "settings that differ"
    rows = [(each["name"], str(each["before"]), str(each["after"])) for each in found["settings"]]
    yield from (f"  {line}" for line in align_columns([("setting", "A", "B"), *rows]))


def _figure_lines(
    found: Comparison, before: BacktestReport, after: BacktestReport
) -> Iterator[str]:
    from kamou.commands.figures import NONE, ascii_text, money_text
    from kamou.web.figure_texts import COSTS, FIGURE_TEXTS, WATERFALL_TITLES

    yield "figures"
    rows: list[tuple[str, ...]] = [("figure", "A", "B", "change")]
    for each in found["figures"]:
        text = FIGURE_TEXTS.get(each["name"])
        if text is None:  # of a later version
            continue
        shown = (
            NONE if value is None else ascii_text(text.show(value))
            for value in (each["before"], each["after"])
        )
        change = each["change"]
        sign = "" if not change or change < 0 else "+"
        moved = NONE if change is None else ascii_text(text.show(change)).lstrip("+")
        rows.append((text.title, *shown, "=" if change == 0 else sign + moved))
    amounts = [{name: str(v) for name, v in each["waterfall"].items()} for each in (before, after)]
    for name, title in WATERFALL_TITLES.items():
        sign = "-" if name in COSTS else ""
        first, second = (money_text(each[name], signed=not sign) for each in amounts)
        rows.append((f"{title} ({before['currency']})", first, second, ""))
    yield from (f"  {line}" for line in align_columns(rows, right=(1, 2, 3)))


def _trade_lines(found: Comparison) -> Iterator[str]:
    changed = found["changed_trades"]
    only = found["only_before"], found["only_after"]
    yield (
        f"trades: {found['same_trades']:,} equal, {len(changed):,} ended differently,"
        f" {len(only[0]):,} in A only, {len(only[1]):,} in B only"
    )
    if changed:
        yield "ended differently: net of A, net of B, how they ended"
        rows = [_pair_cells(each["before"], each["after"]) for each in changed[:TRADES_LISTED]]
        yield from (f"  {line}" for line in align_columns(rows, right=(2, 3)))
        yield from _more(len(changed))
    for place, trades in zip("AB", only, strict=True):
        if trades:
            yield f"in {place} only"
            cells = [_trade_cells(each) for each in trades[:TRADES_LISTED]]
            yield from (f"  {line}" for line in align_columns(cells, right=(3,)))
            yield from _more(len(trades))


def _pair_cells(before: TradeReport, after: TradeReport) -> tuple[str, ...]:
    trade, _, opened, first, end = _trade_cells(before)
    *_, second, other_end = _trade_cells(after)
    return trade, opened, first, second, end if end == other_end else f"{end}, {other_end}"


def _more(count: int) -> Iterator[str]:
    if count > TRADES_LISTED:
        yield f"  and {count - TRADES_LISTED} more; --json has them all"


def _trade_cells(trade: TradeReport) -> tuple[str, ...]:
    from kamou.commands.figures import money_text
    from kamou.core.words import strategy_name

    return (
        f"{trade['symbol']} {trade['side']}",
        strategy_name(trade["strategy"]),
        format_time(trade["opened_at_ms"])[:16],
        money_text(trade["pnl_net"], signed=True),
        trade["exit_reason"].replace("_", " "),
    )
