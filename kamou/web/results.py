"""``Results``: all figures of the page ``/results`` and of ``/results.json``.

``gather_results`` reads the figures that change in every cycle from totals, the newest rows and the
open day. Figures of ended days come from ``web/daily_figures.py``, which caches them. So the
cost grows with the record only at the first request after a start, a day's end or a correction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from decimal import Decimal

import attrs

from kamou.core.kinds import RunMode
from kamou.core.model import ZERO, TradingState
from kamou.core.record.drawdown import Drawdown
from kamou.core.record.performance import DayStatistics, TradeStatistics, trade_statistics
from kamou.core.record.trade_sums import TradeSums
from kamou.store import as_of, latest_events, public_queries, queries
from kamou.store.day_rows import add_up_month, add_up_open_row
from kamou.store.latest_events import DisabledSpan
from kamou.store.public_queries import Curve, DatedTransfer
from kamou.store.record_rows import DayRow, MonthRow, StrategySums
from kamou.store.rows import Downtime
from kamou.store.state_history import (
    HaltPeriod,
    LoneCommand,
    PeriodKind,
    query_commands,
    query_periods,
)
from kamou.web import format as fmt
from kamou.web.daily_figures import ALL, DAYS_SHOWN, MONTHS_SHOWN, Daily, Memo, no_bounds
from kamou.web.site import PriceSource, Site

SPANS_SHOWN = 20  # of each kind of event; the total of each is shown, too


@attrs.frozen(kw_only=True)
class StrategyResult:
    """Statistics and money of one strategy's closed trades, or of all closed trades."""

    name: str
    statistics: TradeStatistics
    pnl_net: Decimal
    fees: Decimal
    funding: Decimal
    slippage: Decimal


@attrs.frozen(kw_only=True)
class ConfigChange:
    """The start of a run with a changed configuration, or of the first run."""

    at_ms: int
    digest: str
    reason: str  # of the change; empty without one


@attrs.frozen(kw_only=True)
class RecordEvents:
    """The trading state, and the newest events of each kind, oldest first.

    Each kind has its total, except ``commands``. ``config_digest`` is empty without a run.
    """

    state: TradingState
    halts: tuple[HaltPeriod, ...]
    halts_total: int
    disabled: tuple[DisabledSpan, ...]
    disabled_total: int
    reduced_size: tuple[HaltPeriod, ...]
    reduced_size_total: int
    commands: tuple[LoneCommand, ...]  # the operator's, that did not change the trading state
    downtime: tuple[Downtime, ...]
    downtime_total: int
    config_digest: str
    config_changes: tuple[ConfigChange, ...]
    configs_total: int
    transfers: tuple[DatedTransfer, ...]
    transfers_total: int

    @property
    def halted_since_ms(self) -> int | None:
        """The start of the halt that has not ended; None if there is none."""
        last = self.halts[-1] if self.halts else None
        return last.from_ms if last is not None and last.until_ms is None else None


@attrs.frozen(kw_only=True)
class Results(RecordEvents):
    """All figures of ``/results``.

    ``since_ms`` and ``equity`` are None before the first equity snapshot, ``equity_start`` without
    a day. ``days`` and ``months`` are newest first and begin with the open one, if there is one.
    """

    head_seq: int
    mode: RunMode
    currency: str
    since_ms: int | None
    as_of_ms: int | None
    equity: Decimal | None
    equity_start: Decimal | None
    unrealized_pnl: Decimal
    net_deposits: Decimal
    by_day: DayStatistics
    by_trade: TradeStatistics
    open_day: DayRow | None
    daily: Daily
    days: tuple[DayRow, ...]
    days_total: int
    marks: Mapping[str, str]  # source of the marks of each midnight, by day
    months: tuple[MonthRow, ...]
    strategies: tuple[StrategyResult, ...]
    totals: StrategyResult
    market: PriceSource
    ended: bool  # the run is a replay and has reached the end of its data
    notices: tuple[str, ...]
    curve: Curve
    drawdown: Drawdown  # over all snapshots
    holding: bool  # a position was open at the newest snapshot

    @property
    def moved_one_way(self) -> bool:
        """True if there are transfers, all listed, and all deposits or all withdrawals."""
        signs = {transfer.amount > 0 for transfer in self.transfers}
        return len(signs) == 1 and self.transfers_total == len(self.transfers)

    @property
    def shown_state(self) -> str:
        """The trading state in plain words, or that the replay has ended."""
        if self.ended:
            return "the replay has ended"
        return fmt.state(self.state, holding=self.holding)


def gather_results(reader: sqlite3.Connection, site: Site, memo: Memo) -> Results:
    """Return all results, read in one snapshot of the database."""
    with public_queries.open_snapshot(reader):
        latest = queries.query_latest(reader)
        then = as_of.find_instant(reader)
        events = _read_events(reader, then)
        since_ms = public_queries.record_start_ms(reader)
        daily = memo.daily(reader)
        now = add_up_open_row(reader)
        sums = as_of.sums_as_of(reader, then)
        until_ms, last = then.at_ms + 1, daily.drawdown.last
        # The open day's first snapshot has the transfers since the last snapshot of ended days.
        moved_ms = daily.end_ms if last is None else last[0] + 1
        drawdown = daily.drawdown.add_snapshots(
            public_queries.query_snapshots(reader, from_ms=daily.end_ms, until_ms=until_ms),
            public_queries.query_transfers(reader, from_ms=moved_ms, until_ms=until_ms),
        ).found
        days = ((now,) if now else ()) + daily.newest[: DAYS_SHOWN - 1]
        marks = public_queries.midnight_marks(reader, days)
        curve = as_of.curve_as_of(reader, then, events.halts, events.downtime)
    whole = _strategy(_all(sums), daily)
    start = daily.equity_start if daily.rows else now.equity_start if now else None
    return Results(
        **attrs.asdict(events, recurse=False),
        head_seq=latest.head_seq,
        mode=latest.mode or site.mode,
        currency=site.currency,
        since_ms=since_ms,
        as_of_ms=latest.equity.at_ms if latest.equity else latest.at_ms,
        equity=latest.equity.equity if latest.equity else None,
        equity_start=start,
        unrealized_pnl=latest.equity.unrealized_pnl if latest.equity else ZERO,
        net_deposits=daily.net_deposits + (now.net_deposits if now else ZERO),
        by_day=daily.statistics,
        by_trade=whole.statistics,
        open_day=now,
        daily=daily,
        days=days,
        marks=marks,
        days_total=daily.rows + (now is not None),
        months=_months(daily, now),
        strategies=tuple(_strategy(each, daily) for each in sums),
        totals=whole,
        market=site.market,
        ended=site.ended,
        notices=site.notices,
        curve=curve,
        drawdown=drawdown,
        holding=latest.equity is not None and latest.equity.margin_used > 0,
    )


def _read_events(reader: sqlite3.Connection, then: as_of.AsOf) -> RecordEvents:
    later = as_of.count_later_spans(reader, then)
    totals = {n: v - later.get(n, 0) for n, v in queries.query_totals(reader).items()}
    limit, until_ms = SPANS_SHOWN, then.at_ms
    run = as_of.run_as_of(reader, then)
    return RecordEvents(
        state=as_of.state_as_of(reader, then),
        halts=query_periods(reader, PeriodKind.HALT, limit=limit, until_ms=until_ms),
        halts_total=totals["halts"],
        disabled=latest_events.disabled_spans(reader, limit=limit, until_ms=until_ms),
        disabled_total=latest_events.count_disabled(reader, until_ms),
        reduced_size=query_periods(reader, PeriodKind.REDUCED_SIZE, limit=limit, until_ms=until_ms),
        reduced_size_total=totals["reductions"],
        commands=query_commands(reader, limit=limit, until_ms=until_ms),
        downtime=as_of.downtime_as_of(reader, then, limit=limit),
        downtime_total=totals["downtimes"],
        config_digest=run.config_digest if run else "",
        config_changes=tuple(
            ConfigChange(
                at_ms=r.started_at_ms, digest=r.config_digest, reason=r.change_reason or ""
            )
            for r in as_of.config_changes(reader, then, limit=limit)
        ),
        configs_total=totals["configs"],
        transfers=public_queries.newest_transfers(reader, limit=limit, until_ms=until_ms),
        transfers_total=totals["transfers"] - public_queries.count_transfers_before_record(reader),
    )


def _all(sums: tuple[StrategySums, ...]) -> StrategySums:
    """Return the sums of all strategies."""
    return StrategySums(
        strategy=ALL,
        trades=sum(s.trades for s in sums),
        wins=sum(s.wins for s in sums),
        r=sum(s.r for s in sums),
        with_r=sum(s.with_r for s in sums),
        profit=sum((s.profit for s in sums), ZERO),
        loss=sum((s.loss for s in sums), ZERO),
        pnl_net=sum((s.pnl_net for s in sums), ZERO),
        fees=sum((s.fees for s in sums), ZERO),
        funding=sum((s.funding for s in sums), ZERO),
        slippage=sum((s.slippage for s in sums), ZERO),
    )


def _strategy(sums: StrategySums, daily: Daily) -> StrategyResult:
    counted = TradeSums(
        trades=sums.trades,
        wins=sums.wins,
        r=sums.r,
        with_r=sums.with_r,
        profit=float(sums.profit),
        loss=float(sums.loss),
    )
    # A strategy whose first trade closed today has no complete day yet.
    bounds = daily.bounds.get(sums.strategy) or no_bounds(daily)
    return StrategyResult(
        name=sums.strategy,
        statistics=trade_statistics(counted, bounds),
        pnl_net=sums.pnl_net,
        fees=sums.fees,
        funding=sums.funding,
        slippage=sums.slippage,
    )


def _months(daily: Daily, now: DayRow | None) -> tuple[MonthRow, ...]:
    """Return the months, with the open day, if there is one, added to its month."""
    if now is None:
        return daily.months
    opened = add_up_month(now.last_day[:7], (now,))
    if daily.months and daily.months[0].month == opened.month:
        before = daily.months[0]
        both = None
        if before.return_ is not None and opened.return_ is not None:
            both = (1 + before.return_) * (1 + opened.return_) - 1
        opened = attrs.evolve(
            before,
            equity_end=opened.equity_end,
            return_=both,
            change=before.change + opened.change,
            net_deposits=before.net_deposits + opened.net_deposits,
            trades=before.trades + opened.trades,
            fees=before.fees + opened.fees,
            funding=before.funding + opened.funding,
            unseparated=before.unseparated + opened.unseparated,
        )
        return (opened, *daily.months[1:])
    return (opened, *daily.months)[:MONTHS_SHOWN]
