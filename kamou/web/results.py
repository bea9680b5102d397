"""The results: one value, a pure function of what the database says, from which the page and
``/results.json`` are both made."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

import attrs
import numpy as np

from kamou.clock import DAY_MS
from kamou.core.performance import (
    DayStatistics,
    TradeStatistics,
    chained_return,
    data_digest,
    day_statistics,
    trade_statistics,
)
from kamou.store import public_queries, queries
from kamou.store.public_queries import Mark, Outcome
from kamou.store.rows import DayRow, Downtime, EquityPoint, StateSpan
from kamou.web.format import day_ms
from kamou.web.site import Site

ZERO = Decimal(0)
CURVE_POINTS = 480  # about two per pixel of a telephone, half of one of a desktop
MEMO_MAX = 64  # remembered statistics: one per strategy, the whole, and their predecessors


@attrs.frozen(kw_only=True)
class DayResult:
    """One UTC day. ``change`` is equity at the end less equity at the start less deposits."""

    day: str
    return_: float  # fraction, time-weighted
    change: Decimal
    equity_end: Decimal
    flows: Decimal
    trades: int
    fees: Decimal
    funding: Decimal
    complete: bool  # False: the current day, so far
    down: bool  # nothing ran on this day; it counts as idle


@attrs.frozen(kw_only=True)
class StrategyResult:
    name: str
    statistics: TradeStatistics
    pnl_net: Decimal
    fees: Decimal
    funding: Decimal
    slippage: Decimal


@attrs.frozen(kw_only=True)
class ConfigChange:
    at_ms: int
    digest: str
    reason: str


@attrs.frozen(kw_only=True)
class Results:
    """Everything that ``/results`` says. ``since_ms`` is None before the first equity mark."""

    head_seq: int
    mode: str
    currency: str
    since_ms: int | None
    as_of_ms: int | None
    equity: Decimal | None
    equity_start: Decimal | None
    unrealised: Decimal
    flows: Decimal
    state: str
    by_day: DayStatistics
    by_trade: TradeStatistics
    days: tuple[DayResult, ...]
    strategies: tuple[StrategyResult, ...]
    totals: StrategyResult
    halts: tuple[StateSpan, ...]
    downtime: tuple[Downtime, ...]
    config_digest: str
    config_changes: tuple[ConfigChange, ...]
    notices: tuple[str, ...]
    curve: tuple[Mark, ...]


class Memo:
    """Trade statistics by the digest of their data: a new equity mark does not redo them."""

    def __init__(self) -> None:
        self._known: dict[str, TradeStatistics] = {}

    def trade_statistics(self, outcomes: Sequence[Outcome]) -> TradeStatistics:
        pnl = np.array([float(o.pnl_net) for o in outcomes], dtype=np.float64)
        r = np.array([o.r_multiple for o in outcomes], dtype=np.float64)
        digest = data_digest(pnl, r)
        if digest not in self._known:
            if len(self._known) >= MEMO_MAX:
                self._known.pop(next(iter(self._known)))
            self._known[digest] = trade_statistics(pnl, r)
        return self._known[digest]


def gather(reader: sqlite3.Connection, site: Site, memo: Memo) -> Results:
    """Ask the database for everything, at one committed state."""
    with public_queries.snapshot(reader):
        latest = queries.latest(reader)
        first = public_queries.first_mark(reader)
        outcomes = public_queries.outcomes(reader)
        days = _days(reader, queries.days(reader), latest.equity)
        configs = queries.configs(reader)
        halts, downtime = queries.halts(reader), queries.downtime(reader)
        curve = public_queries.curve(reader, points_max=CURVE_POINTS)
    names = sorted({o.strategy for o in outcomes})
    complete = [d.return_ for d in days if d.complete]
    partial = next((d.return_ for d in days if not d.complete), None)
    totals = _strategy("all", outcomes, memo)
    return Results(
        head_seq=latest.head_seq,
        mode=latest.mode or site.mode,
        currency=site.currency,
        since_ms=first[0] if first else None,
        as_of_ms=latest.equity.at_ms if latest.equity else latest.at_ms,
        equity=latest.equity.equity if latest.equity else None,
        equity_start=first[1] if first else None,
        unrealised=latest.equity.unrealised if latest.equity else ZERO,
        flows=latest.equity.flows if latest.equity else ZERO,
        state=latest.state.state if latest.state else "normal",
        by_day=day_statistics(complete, partial),
        by_trade=totals.statistics,
        days=days,
        strategies=tuple(
            _strategy(name, [o for o in outcomes if o.strategy == name], memo) for name in names
        ),
        totals=totals,
        halts=halts,
        downtime=downtime,
        config_digest=latest.run.config_digest if latest.run else "",
        config_changes=tuple(
            ConfigChange(at_ms=c.first_ms, digest=c.digest, reason=c.reason) for c in configs
        ),
        notices=site.notices,
        curve=curve,
    )


def as_json(results: Results) -> dict[str, object]:
    """``/results.json``: money as decimal strings, ratios as numbers, times in ms UTC."""
    return {
        "mode": results.mode,
        "since_ms": results.since_ms,
        "as_of_ms": results.as_of_ms,
        "currency": results.currency,
        "equity": _text(results.equity),
        "equity_start": _text(results.equity_start),
        "unrealised": _text(results.unrealised),
        "flows": _text(results.flows),
        "state": results.state,
        "performance": {**results.by_day.as_dict(), **results.by_trade.as_dict()},
        "days": [_day_json(day) for day in results.days],
        "strategies": [_strategy_json(strategy) for strategy in results.strategies],
        "trades_total": results.by_trade.trades.n,
        "halts": [_halt_json(halt) for halt in results.halts],
        "downtime": [_downtime_json(gap) for gap in results.downtime],
        "config_digest": results.config_digest,
        "config_changes": [
            {"at_ms": c.at_ms, "digest": c.digest, "reason": c.reason}
            for c in results.config_changes
        ],
        "notices": list(results.notices),
        "equity_curve": [{"at_ms": m.at_ms, "equity": _text(m.equity)} for m in results.curve],
        "journal_seq": results.head_seq,
    }


# --- inside ----------------------------------------------------------------------------------


def _days(
    reader: sqlite3.Connection, rows: Sequence[DayRow], now: EquityPoint | None
) -> tuple[DayResult, ...]:
    """The days on record, with the calendar days on which nothing ran filled in as idle."""
    made: list[DayResult] = []
    flows_before = ZERO
    for row in rows:
        if made:
            made += _idle_days(made[-1], row.day)
        if row.equity_end is not None:
            end, flows = row.equity_end, row.flows
        elif now is not None:  # the current day ends, so far, at the newest mark
            end, flows = now.equity, now.flows - flows_before
        else:
            end, flows = row.equity_start, ZERO
        made.append(
            DayResult(
                day=row.day,
                return_=_day_return(reader, row, end, flows_before, flows),
                change=end - row.equity_start - flows,
                equity_end=end,
                flows=flows,
                trades=row.trades,
                fees=row.fees,
                funding=row.funding,
                complete=row.equity_end is not None,
                down=False,
            )
        )
        flows_before += flows
    return tuple(made)


def _idle_days(last: DayResult, until: str) -> list[DayResult]:
    day = date.fromisoformat(last.day) + timedelta(days=1)
    found: list[DayResult] = []
    while day.isoformat() < until:
        found.append(
            attrs.evolve(
                last,
                day=day.isoformat(),
                return_=0.0,
                change=ZERO,
                flows=ZERO,
                trades=0,
                fees=ZERO,
                funding=ZERO,
                complete=True,
                down=True,
            )
        )
        day += timedelta(days=1)
    return found


def _day_return(
    reader: sqlite3.Connection, row: DayRow, end: Decimal, flows_before: Decimal, flows: Decimal
) -> float:
    if row.equity_start <= 0:
        return 0.0  # nothing to earn a return on
    if flows == 0:
        return float(end / row.equity_start) - 1.0
    # money came or went: chain the day's marks, so that a deposit is not taken for profit
    from_ms = day_ms(row.day)
    equity, flow_marks = public_queries.marks_between(reader, from_ms, from_ms + DAY_MS)
    return chained_return(
        np.concatenate([[float(row.equity_start)], equity, [float(end)]]),
        np.concatenate([[float(flows_before)], flow_marks, [float(flows_before + flows)]]),
    )


def _strategy(name: str, outcomes: Sequence[Outcome], memo: Memo) -> StrategyResult:
    return StrategyResult(
        name=name,
        statistics=memo.trade_statistics(outcomes),
        pnl_net=sum((o.pnl_net for o in outcomes), ZERO),
        fees=sum((o.fees for o in outcomes), ZERO),
        funding=sum((o.funding for o in outcomes), ZERO),
        slippage=sum((o.slippage for o in outcomes), ZERO),
    )


def _text(money: Decimal | None) -> str | None:
    return None if money is None else format(money, "f")


def _day_json(day: DayResult) -> dict[str, object]:
    return {
        "day": day.day,
        "return": day.return_,
        "pnl": _text(day.change),
        "equity_end": _text(day.equity_end),
        "flows": _text(day.flows),
        "trades": day.trades,
        "fees": _text(day.fees),
        "funding": _text(day.funding),
        "complete": day.complete,
        "down": day.down,
    }


def _strategy_json(strategy: StrategyResult) -> dict[str, object]:
    return {
        "name": strategy.name,
        "performance": strategy.statistics.as_dict(),
        "trades": strategy.statistics.trades.n,
        "pnl_net": _text(strategy.pnl_net),
        "fees": _text(strategy.fees),
        "funding": _text(strategy.funding),
        "slippage": _text(strategy.slippage),
    }


def _halt_json(halt: StateSpan) -> dict[str, object]:
    return {
        "from_ms": halt.from_ms,
        "until_ms": halt.until_ms,
        "state": halt.state,
        "reason": halt.reason,
    }


def _downtime_json(gap: Downtime) -> dict[str, object]:
    return {"from_ms": gap.from_ms, "until_ms": gap.until_ms, "orderly": gap.orderly}
