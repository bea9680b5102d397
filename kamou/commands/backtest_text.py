"""The report of a backtest as lines for a terminal of at least 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from kamou.commands.figures import (
    NONE,
    ascii_text,
    money_text,
    number_text,
    percent_text,
    span_text,
)
from kamou.commands.printing import TROUBLE, format_time
from kamou.commands.text_layout import align_columns, fit_line
from kamou.core.kinds import Tier
from kamou.core.record.backtest_document import (
    BacktestReport,
    DrawdownReport,
    FailureReport,
    GroupReport,
    TradeReport,
)
from kamou.core.words import count_words, strategy_name
from kamou.web import figure_texts as texts
from kamou.web.format import month_name

ROWS_MAX = 12  # of the table by symbol; of more rows it has the best and the worst
BAR_CELLS = 30  # cells of the longest bar of the distribution of R
LISTED_MAX = 10  # open positions, halts and notes that are listed
TIER_TITLES = {
    Tier.STRATEGY: "abstentions of the strategies (T1)",
    Tier.VETO: "vetoes (T2)",
    Tier.REFINER: "refusals of the refiner (T3)",
    Tier.GOVERNOR: "denials of entries",
    Tier.VENUE: "rejections by the exchange",
}


def report_lines(result: BacktestReport, width: int) -> list[str]:
    """Return all lines of the report; a line of more than ``width`` cells is wrapped.

    A longer word stays whole.
    """
    sections = (
        _head(result),
        _troubles(result),
        _waterfall(result),
        _figures(result),
        _drawdowns(result),
        _months(result),
        _distribution(result),
        _open_positions(result),
        *(_table(result, by) for by in texts.GROUP_TITLES),
        _signals(result),
        _refusals(result),
        _halts(result),
        _foot(result),
    )
    lines: list[str] = []
    for section in sections:
        found = [line for text in section for line in fit_line(text, width)]
        lines += ["", *found] if lines and found else found
    return lines


def _head(result: BacktestReport) -> Iterator[str]:
    tested, data = result["tested"], result["data"]
    first, last = (format_time(tested[key])[:16] for key in ("from_ms", "as_of_ms"))
    symbols = count_words(result["symbols"], "symbol")
    yield f"backtest of {data['name']}: {symbols}, {first} to {last} UTC"
    if tested["interrupted"]:
        until = format_time(tested["until_ms"])[:16]
        yield f"{TROUBLE}interrupted: the report ends before {until}, the requested end"
    yield "The promotion gate is assumed live. A backtest is not a forecast."
    start, end = (money_text(result[key]) for key in ("equity_start", "equity_end"))
    held = len(result["open_positions"])
    still = f", {count_words(held, 'position')} still open" if held else ""
    worth = money_text(result["unrealized_pnl"], signed=True)
    yield (
        f"equity {start} to {end} {result['currency']}"
        f"{still}{f' with {worth} unrealized' if held else ''}"
    )


def _troubles(result: BacktestReport) -> Iterator[str]:
    if result["violations"]:
        yield f"{TROUBLE}{count_words(result['violations'], 'violation')} of the hard rules"
    for each in result["violation_list"][:LISTED_MAX]:
        at = format_time(each["at_ms"])
        yield f"{TROUBLE}{at} {each['symbol']} {each['rule']}: {each['detail']}"
    for title, notes in (
        ("strategy errors", [_describe_failure(each) for each in result["strategy_failures"]]),
        ("strategies of your own", [f"{n} {h}" for n, h in result["strategy_files"].items()]),
        ("notes on the data", result["data_notes"]),
    ):
        if notes:
            yield title
            yield from (f"  {note}" for note in notes[:LISTED_MAX])
            if len(notes) > LISTED_MAX:
                yield f"  and {len(notes) - LISTED_MAX} more; --json has them all"


def _describe_failure(failure: FailureReport) -> str:
    """Return a failure's place, kind, count, first time, its symbol and its error."""
    symbol = f" {failure['symbol']}" if failure["symbol"] else ""
    return (
        f"{failure['place']} {failure['kind']}, {count_words(failure['count'], 'time')}, first at"
        f" {format_time(failure['first_at_ms'])}{symbol}: {failure['error']}"
    )


def _waterfall(result: BacktestReport) -> Iterator[str]:
    yield f"from gross to net, {result['currency']}"
    steps: dict[str, str] = {**result["waterfall"]}  # type: ignore[dict-item]  # all are text
    rows = []
    for name, title in texts.WATERFALL_TITLES.items():
        amount = Decimal(steps[name])
        shown = money_text(-amount if name in texts.COSTS else amount, signed=True)
        rows.append((f"  {title}" if name in ("closed", "open") else title, shown))
    yield from (f"  {line}" for line in align_columns(rows, right=(1,)))


def _figures(result: BacktestReport) -> Iterator[str]:
    yield "figures"
    rows = []
    for name, text in texts.FIGURE_TEXTS.items():
        figure = result["figures"][name]
        value = ascii_text(texts.show_value(name, figure))
        rows.append((text.title, value, figure["reason"] or ""))
    yield from (f"  {line}" for line in align_columns(rows))
    yield "  Sharpe and Sortino: daily returns of complete days, idle days included,"
    yield "  times sqrt(365), no risk-free rate. Win rate: with its 95% interval (Wilson)."


def _drawdowns(result: BacktestReport) -> Iterator[str]:
    found = result["drawdowns"]
    for title, each in (("maximum", found["deepest"]), ("longest", found["longest"])):
        if each is not None:
            yield f"{title} drawdown: {_describe_drawdown(each)}"


def _describe_drawdown(each: DrawdownReport) -> str:
    peak, trough = (format_time(at)[:16] for at in (each["peak_ms"], each["trough_ms"]))
    recovery = each["recovery_ms"]
    end = "not recovered" if recovery is None else f"recovered {format_time(recovery)[:16]}"
    return (
        f"{percent_text(each['value'])}, peak {peak}, trough {trough}, {end}"
        f" ({span_text(0, each['duration_ms'])})"
    )


def _months(result: BacktestReport) -> Iterator[str]:
    if not result["months"]:
        return
    yield "months"
    rows = [
        (
            month_name(each["month"]) + ("" if each["complete"] else " (part)"),
            percent_text(each["return_twr"], signed=True),
            count_words(each["trades"], "trade"),
        )
        for each in result["months"]
    ]
    yield from (f"  {line}" for line in align_columns(rows, right=(1, 2)))


def _distribution(result: BacktestReport) -> Iterator[str]:
    found = result["r_distribution"]
    if not found["bins"]:
        return
    without = found["without_r"]
    rest = f", {without:,} without R" if without else ""
    yield f"distribution of R ({count_words(found['trades'], 'trade')}{rest})"
    most = max(each["trades"] for each in found["bins"])
    for each in found["bins"]:
        name = _bin_name(each["low"], each["high"])
        bar = "#" * -(-each["trades"] * BAR_CELLS // most)
        yield f"  {name:>14}  {each['trades']:>5}  {bar}"
    known = {trade["trade_id"]: trade for trade in result["trade_list"]}
    for title, ids in (("best", found["best"]), ("worst", found["worst"])):
        yield f"  {title} trades"
        rows = [_trade_cells(known[each]) for each in ids]
        yield from (f"    {line}" for line in align_columns(rows, right=(0, 1)))


def _bin_name(low: float | None, high: float | None) -> str:
    if low is None:
        return f"below {high:+.1f}"
    return f"{low:+.1f} and more" if high is None else f"{low:+.1f} to {high:+.1f}"


def _trade_cells(trade: TradeReport) -> tuple[str, ...]:
    r = NONE if trade["r"] is None else f"{number_text(trade['r'], signed=True)} R"
    return (
        r,
        money_text(trade["pnl_net"], signed=True),
        f"{trade['symbol']} {trade['side']}",
        strategy_name(trade["strategy"]),
        format_time(trade["opened_at_ms"])[:16],
    )


def _open_positions(result: BacktestReport) -> Iterator[str]:
    held = result["open_positions"]
    if not held:
        return
    yield f"still open at the end, {money_text(result['unrealized_pnl'], signed=True)} unrealized"
    rows = [
        (
            each["symbol"],
            each["side"],
            money_text(each["entry_value"]),
            strategy_name(each["strategy"]),
            format_time(each["opened_at_ms"])[:16],
        )
        for each in held[:LISTED_MAX]
    ]
    header = ("symbol", "side", "entry value", "strategy", "opened (UTC)")
    yield from (f"  {line}" for line in align_columns([header, *rows], right=(2,)))
    if len(held) > LISTED_MAX:
        yield f"  and {len(held) - LISTED_MAX} more; --json has them all"


def _table(result: BacktestReport, by: str) -> Iterator[str]:
    rows = result["tables"].get(by, [])
    if not rows:
        return
    shown, left_out = rows, ""
    if len(rows) > ROWS_MAX and by == "symbol":
        shown = rows[: ROWS_MAX // 2] + rows[-ROWS_MAX // 2 :]
        left_out = f", the best and the worst {ROWS_MAX // 2} of {len(rows)}"
    yield texts.GROUP_TITLES[by].replace("By", "by", 1) + left_out
    header = (by.replace("_", " "), "trades", "won", "net", "mean R", "factor", "fees", "funding")
    cells = [_group_cells(by, row) for row in shown]
    lines = align_columns([header, *cells], right=range(1, len(header)))
    yield from (f"  {line}" for line in lines)


def _group_cells(by: str, row: GroupReport) -> tuple[str, ...]:
    factor, mean = row["profit_factor"], row["expectancy_r"]
    return (
        texts.group_key(by, row["key"]),
        f"{row['trades']:,}",
        percent_text(row["win_rate"], places=0),
        money_text(row["pnl_net"], signed=True),
        NONE if mean is None else number_text(mean, signed=True),
        NONE if factor is None else number_text(factor),
        money_text(row["fees"]),
        money_text(row["funding"], signed=True),
    )


def _signals(result: BacktestReport) -> Iterator[str]:
    """Yield each strategy's number of signals, and its abstentions with what it wants."""
    if not result["by_strategy"]:
        return
    yield "signals and abstentions by strategy, of each symbol at each bar"
    for name, each in result["by_strategy"].items():
        abstained = count_words(sum(each["abstained"].values()), "abstention")
        yield f"  {strategy_name(name)}: {count_words(each['candidates'], 'signal')}, {abstained}"
        rows = [
            (f"{count:,}", code, f"wants {each['wanted'][code]}" if code in each["wanted"] else "")
            for code, count in each["abstained"].items()
        ]
        yield from (f"    {line}" for line in align_columns(rows, right=(0,)))


def _refusals(result: BacktestReport) -> Iterator[str]:
    for tier, title in TIER_TITLES.items():
        rows = [
            (f"{each['count']:,}", each["code"], each["meaning"])
            for each in result["refusals"]
            if each["tier"] == tier
        ]
        if rows:
            yield title
            yield from (f"  {line}" for line in align_columns(rows, right=(0,)))


def _halts(result: BacktestReport) -> Iterator[str]:
    periods = result["halt_list"]
    if not periods:
        return
    yield "halts and times of reduced size"
    rows = [
        (
            format_time(each["from_ms"])[:16],
            span_text(each["from_ms"], each["until_ms"]) if each["until_ms"] else "to the end",
            each["state"],
            each["reason"],
        )
        for each in periods[-LISTED_MAX:]
    ]
    yield from (f"  {line}" for line in align_columns(rows))
    if len(periods) > LISTED_MAX:
        yield f"  the newest {LISTED_MAX} of {len(periods)}; --json has them all"


def _foot(result: BacktestReport) -> Iterator[str]:
    counts: Sequence[tuple[str, int]] = (
        ("bar", result["bars"]),
        ("cycle", result["cycles"]),
        ("candidate", result["candidates"]),
        ("order", result["orders"]),
        ("fill", result["fills"]),
    )
    yield "run: " + ", ".join(count_words(count, noun) for noun, count in counts)
    overshoot = Decimal(result["worst_overshoot_r"])
    yield f"worst overshoot: {overshoot:.3f} of the stop distance"
    if "cpu_s" in result and "wall_s" in result and "peak_rss_mb" in result:
        yield (
            f"took {result['cpu_s']:.1f} s of CPU, {result['wall_s']:.1f} s,"
            f" {result['peak_rss_mb']:.0f} MB"
        )
    yield f"facts digest {result['facts_digest']}"
    yield f"configuration {result['config_digest'][:16]}, version {result['version']}"
