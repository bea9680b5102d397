"""``/results`` and ``/results.json``: the record's figures and its newest events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

import attrs
import msgspec
from markupsafe import Markup

from kamou.core.day import DAY_MS
from kamou.core.record.performance import Estimate
from kamou.http.responses import HTML, JSON
from kamou.store import public_queries
from kamou.store.record_rows import DayRow, MarkKind
from kamou.web import format as fmt
from kamou.web.chart import BarDay, ChartEvent, Span, Whisker, curve_charts, day_charts, whisker
from kamou.web.documents import results_document
from kamou.web.interruptions import interruptions
from kamou.web.pages.base import PageRequest, RenderedPage
from kamou.web.pages.strategies import GateLine, gather_lines
from kamou.web.results import Results, gather_results

NAMED = 12  # newest events of each kind that have a marker with a title on the curve
TITLE_CHARS_MAX = 120  # of a title, which may have a reason that an operator wrote


@attrs.frozen(kw_only=True)
class FigureRow:
    """One line of the table of figures, in words."""

    name: str
    meaning: str
    value: str
    low: str
    high: str
    rests_on: str  # the interval's count of observations, if it is not the figure's
    estimate: Estimate
    whisker: Whisker | None
    counted: str  # the unit of the count, such as "complete days"


def render(request: PageRequest) -> RenderedPage:
    """Return the results as HTML, or as JSON if the request prefers it."""
    return render_json(request) if request.json else _html(request)


def render_json(request: PageRequest) -> RenderedPage:
    """Return the results as JSON."""
    results = gather_results(request.reader, request.site, request.memo)
    return RenderedPage(body=msgspec.json.encode(results_document(results)), media_type=JSON)


def _html(request: PageRequest) -> RenderedPage:
    results = gather_results(request.reader, request.site, request.memo)
    ended = results.days[1:] if results.open_day else results.days
    body = request.templates.page(
        "results.html",
        title="Results",
        path="/results",
        description="Equity, returns with their intervals, every strategy, day and halt: the whole"
        f" {results.mode} record, losing days included.",
        results=results,
        gate_lines=_gate_lines(request),
        rows=tuple(_rows(results)),
        interruptions=interruptions(results),
        drawdown=_drawdown(results),
        curves=curve_charts(
            results.curve, tuple(_spans(results)), tuple(_events(results)), _opening(results)
        ),
        bars=request.memo.piece("bars", lambda: _bars(request, ended)),
        # The key has the open month, because a month may begin before its first day ends.
        months=request.memo.piece(
            f"months {results.months[0].month if results.months else ''}",
            lambda: request.templates.macro(
                "month_rows", results.months[1:], results.daily.complete_months
            ),
        ),
        ended=request.memo.piece("ended", lambda: request.templates.macro("day_rows", ended)),
    )
    return RenderedPage(body=body, media_type=HTML)


def _gate_lines(request: PageRequest) -> tuple[GateLine, ...]:
    """Return the strategies at the gate; none in a record with the assumed gate."""
    if request.site.assumed_live:
        return ()
    with public_queries.open_snapshot(request.reader) as reader:
        return gather_lines(request, reader)


def _bars(request: PageRequest, ended: Sequence[DayRow]) -> Markup:
    charts = day_charts([_bar(day) for day in reversed(ended)])
    return Markup().join(
        request.templates.macro("bars", chart, "Returns of the newest days") for chart in charts
    )


def _rows(results: Results) -> Iterator[FigureRow]:
    day, trade = results.by_day, results.by_trade
    without_r = trade.trades.n - trade.expectancy_r.n
    yield _row(
        "Return",
        "Time-weighted, over complete days, net of the costs charged so far. Open positions count"
        " at their marks, without the costs of closing them. Deposits are not profit.",
        day.return_twr,
        lambda v: fmt.percent(v, signed=True),
        "complete day",
    )
    yield _row(
        "Maximum drawdown at day closes",
        "Largest fall of the index below its earlier highest, at closes of complete days.",
        day.max_drawdown,
        fmt.percent,
        "complete day",
    )
    yield _row(
        "Sharpe ratio",
        "Mean over deviation of daily returns, times \N{SQUARE ROOT}365; ddof 1, idle days"
        " included.",
        day.sharpe,
        fmt.number,
        "complete day",
    )
    yield _row(
        "Sortino ratio",
        "As Sharpe, but only losing days count as risk. Target 0, times \N{SQUARE ROOT}365.",
        day.sortino,
        fmt.number,
        "complete day",
    )
    yield _row(
        "Win rate",
        "Share of closed trades with a net profit. A high rate can still lose money: one large loss"
        " can exceed many small wins.",
        trade.win_rate,
        lambda v: fmt.percent(v, places=1),
        "closed trade",
        neutral=None,
    )
    expectancy = _row(
        "Expectancy",
        "Mean net result of a trade in R: 1 R is what the trade planned to risk.",
        trade.expectancy_r,
        lambda v: fmt.number(v, signed=True, places=3) + " R",
        "closed trade",
    )
    aside = f", {without_r} without R" if without_r else ""
    yield attrs.evolve(expectancy, counted=expectancy.counted + aside)
    yield _row(
        "Profit factor",
        "Sum of net profits over sum of net losses. Below 1, the trades lost money.",
        trade.profit_factor,
        fmt.number,
        "closed trade",
        neutral=1.0,
    )


def _row(
    name: str,
    meaning: str,
    estimate: Estimate,
    show: fmt.Show,
    counted: str,
    *,
    neutral: float | None = 0.0,
) -> FigureRow:
    drawn = None
    found = None if estimate.counted is None else estimate.counted.n
    if estimate.value is not None and estimate.low is not None and neutral is not None:
        drawn = whisker(estimate.value, estimate.low, estimate.high, neutral)
    return FigureRow(
        name=name,
        meaning=meaning,
        value=show(estimate.value) if estimate.value is not None else "",
        low=show(estimate.low) if estimate.low is not None else "",
        high=show(estimate.high) if estimate.high is not None else "no upper bound",
        rests_on=fmt.rests_on(estimate.n, found, counted),
        estimate=estimate,
        whisker=drawn,
        counted=fmt.nouns(estimate.n, counted),
    )


def _spans(results: Results) -> Iterator[Span]:
    """Yield the halt that has not ended; the curve has those that have ended."""
    if results.halted_since_ms is not None and results.as_of_ms is not None:
        yield Span(kind=MarkKind.HALT, from_ms=results.halted_since_ms, until_ms=results.as_of_ms)


def _events(results: Results) -> Iterator[ChartEvent]:
    changes = results.config_changes[-NAMED:]
    if results.configs_total == len(results.config_changes):
        changes = results.config_changes[1:][-NAMED:]  # the record began with the first one
    for change in changes:
        title = f"Configuration changed: {change.reason or change.digest[:12]}"
        yield ChartEvent(kind=MarkKind.CONFIG, at_ms=change.at_ms, title=title[:TITLE_CHARS_MAX])
    for transfer in results.transfers[-NAMED:]:
        name = "Deposit" if transfer.amount > 0 else "Withdrawal"
        amount = fmt.money(abs(transfer.amount))
        title = f"{name}, {fmt.moment(transfer.at_ms)} UTC: {amount} {results.currency}"
        yield ChartEvent(kind=MarkKind.TRANSFER, at_ms=transfer.at_ms, title=title)


def _drawdown(results: Results) -> str:
    """Return a sentence with the deeper of the two maximum drawdowns, or without one."""
    all_, closes = results.drawdown, results.by_day.max_drawdown.value
    if closes is not None and closes < all_.value:
        return f"Maximum drawdown: {fmt.percent(closes)}, at closes of complete days."
    if all_.peak_ms is None:
        return "Maximum drawdown: none, over all equity snapshots."
    ended = "not recovered yet"
    if all_.recovery_ms is not None:
        ended = f"recovered on {fmt.moment(all_.recovery_ms)} UTC"
    return (
        f"Maximum drawdown: {fmt.percent(all_.value)}, over all equity snapshots, from"
        f" {fmt.moment(all_.peak_ms)} to {fmt.moment(all_.trough_ms)} UTC, {ended}."
    )


def _opening(results: Results) -> tuple[int, Decimal] | None:
    if results.since_ms is None or results.equity_start is None:
        return None
    return results.since_ms, results.equity_start


def _bar(day: DayRow) -> BarDay:
    if day.separable:
        title = f"{fmt.day_name(day.day)}: {fmt.percent(day.return_, signed=True)}"
        return BarDay(day=day.day, days=1, value=day.return_ or 0.0, title=title)
    title = f"{fmt.day_name(day.day)} to {fmt.day_name(day.last_day)}: not separable"
    days = (fmt.day_ms(day.last_day) - fmt.day_ms(day.day)) // DAY_MS + 1
    return BarDay(day=day.day, days=days, value=None, title=title)
