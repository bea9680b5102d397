"""``/results`` and ``/results.json``: how it does, bad days included."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import msgspec

from kamou.core.performance import Estimate
from kamou.http.replies import HTML, JSON
from kamou.web import format as fmt
from kamou.web.chart import Event, Span, Whisker, curve_charts, day_charts, whisker
from kamou.web.pages.base import Ask, Page
from kamou.web.results import DayResult, Results, as_json, gather

RECENT_DAYS = 14  # shown open; the rest is one click away


@attrs.frozen(kw_only=True)
class Row:
    """One line of the table of figures, in words."""

    name: str
    meaning: str
    value: str
    low: str
    high: str
    estimate: Estimate
    whisker: Whisker | None
    counted: str


def render(ask: Ask) -> Page:
    """HTML for people, JSON for whoever asks for it."""
    return render_json(ask) if ask.json else _html(ask)


def render_json(ask: Ask) -> Page:
    results = gather(ask.reader, ask.site, ask.memo)
    return Page(body=msgspec.json.encode(as_json(results)), media_type=JSON)


def _html(ask: Ask) -> Page:
    results = gather(ask.reader, ask.site, ask.memo)
    newest_first = results.days[::-1]
    body = ask.templates.page(
        "results.html",
        title="Results",
        results=results,
        rows=tuple(_rows(results)),
        curves=curve_charts(results.curve, tuple(_spans(results)), tuple(_events(results))),
        bars=day_charts([(d.day, d.return_, _day_title(d)) for d in results.days]),
        recent=newest_first[:RECENT_DAYS],
        older=newest_first[RECENT_DAYS:],
        losing_days=sum(1 for day in results.days if day.return_ < 0),
        gaining_days=sum(1 for day in results.days if day.return_ > 0),
        worst=min(results.days, key=lambda day: day.return_, default=None),
    )
    return Page(body=body, media_type=HTML)


def _rows(results: Results) -> Iterator[Row]:
    day, trade = results.by_day, results.by_trade
    yield _row(
        "Return",
        "Time-weighted, since inception, net of every cost. Deposits are not profit.",
        day.return_twr,
        lambda v: fmt.percent(v, signed=True),
        "complete days",
    )
    yield _row(
        "Deepest fall",
        "Maximum drawdown: from the highest equity before it, at day closes.",
        day.max_drawdown,
        fmt.percent,
        "complete days",
    )
    yield _row(
        "Sharpe ratio",
        "Mean over deviation of daily returns, times \N{SQUARE ROOT}365; ddof 1, idle days"
        " included.",
        day.sharpe,
        fmt.number,
        "complete days",
    )
    yield _row(
        "Sortino ratio",
        "As Sharpe, but only losing days count as risk. Target 0, times \N{SQUARE ROOT}365.",
        day.sortino,
        fmt.number,
        "complete days",
    )
    yield _row(
        "Win rate",
        "Share of closed trades with a net profit. Says nothing alone: many small wins can pay"
        " for one large loss, or not.",
        trade.win_rate,
        lambda v: fmt.percent(v, places=1),
        "closed trades",
        neutral=None,
    )
    yield _row(
        "Expectancy",
        "Mean net result of a trade in R: 1 R is what the trade planned to risk.",
        trade.expectancy_r,
        lambda v: fmt.number(v, signed=True, places=3) + " R",
        "closed trades",
    )
    yield _row(
        "Profit factor",
        "Net profits over net losses. Below 1 it loses money.",
        trade.profit_factor,
        fmt.number,
        "closed trades",
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
) -> Row:
    drawn = None
    if estimate.value is not None and estimate.low is not None and neutral is not None:
        drawn = whisker(estimate.value, estimate.low, estimate.high, neutral)
    return Row(
        name=name,
        meaning=meaning,
        value=show(estimate.value) if estimate.value is not None else "",
        low=show(estimate.low) if estimate.low is not None else "",
        high=show(estimate.high) if estimate.high is not None else "no upper bound",
        estimate=estimate,
        whisker=drawn,
        counted=counted,
    )


def _spans(results: Results) -> Iterator[Span]:
    end_ms = results.as_of_ms or 0
    for halt in results.halts:
        until_ms = end_ms if halt.until_ms is None else halt.until_ms
        title = f"Halt: {fmt.words(halt.reason)}, from {fmt.moment(halt.from_ms)} UTC"
        yield Span(kind="halt", from_ms=halt.from_ms, until_ms=until_ms, title=title)
    for gap in results.downtime:
        title = f"Not running: {fmt.moment(gap.from_ms)} to {fmt.moment(gap.until_ms)} UTC"
        yield Span(kind="down", from_ms=gap.from_ms, until_ms=gap.until_ms, title=title)


def _events(results: Results) -> Iterator[Event]:
    for change in results.config_changes[1:]:  # the first is what it began with
        title = f"Configuration changed: {change.reason or change.digest[:12]}"
        yield Event(kind="config", at_ms=change.at_ms, title=title)
    for day in results.days:
        if day.flows:
            amount = fmt.money(day.flows, signed=True)
            title = f"Deposit or withdrawal: {amount} {results.currency}"
            yield Event(kind="flow", at_ms=fmt.day_ms(day.day), title=title)


def _day_title(day: DayResult) -> str:
    return f"{fmt.day_name(day.day)}: {fmt.percent(day.return_, signed=True)}"
