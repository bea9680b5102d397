"""The lists of a backtest's report: trades, positions, days, months, tables.

Drawdowns, the distribution of R, refusals and halts are here too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from kamou.core.codes import MEANINGS
from kamou.core.day import MINUTE_MS, midnight_ms_of, next_month, utc_day
from kamou.core.plain import fixed_text, to_plain
from kamou.core.record.backtest_document import (
    DayReport,
    DrawdownReport,
    GroupReport,
    HaltReport,
    MonthReport,
    OpenPosition,
    RefusalReport,
    RReport,
    TradeReport,
)
from kamou.core.record.drawdown import Drawdown
from kamou.core.record.trade_figures import GROUPINGS, bin_r, group_trades, rank_by_r
from kamou.core.record.trade_sums import ClosedTrade, Holding
from kamou.core.record.underwater import drawdown_ms
from kamou.store.day_rows import add_up_month
from kamou.store.record_rows import DayRow
from kamou.store.refusal_counts import RefusalCount
from kamou.store.rows import OpenTradeRow, TradeRow
from kamou.store.state_history import HaltPeriod
from kamou.venue.market.recorded import RecordedMarket


def read_trade(row: TradeRow) -> ClosedTrade:
    """Return a stored trade as a value from which figures are computed."""
    return ClosedTrade(
        trade_id=row.trade_id,
        symbol=row.symbol,
        strategy=row.strategy,
        side=row.side,
        holding=Holding(
            from_ms=row.opened_at_ms,
            until_ms=row.closed_at_ms,
            entry_value=row.entry_price * row.quantity * row.contract_size,
        ),
        fees=row.fees,
        funding=row.funding,
        slippage=row.slippage,
        pnl_net=row.pnl_net,
        r=row.r_multiple,
        exit_reason=row.exit_reason,
    )


def list_trade(row: TradeRow) -> TradeReport:
    """Return a closed trade as the report lists it."""
    return {
        "trade_id": row.trade_id,
        "symbol": row.symbol,
        "strategy": row.strategy,
        "side": str(row.side),
        "quantity": fixed_text(row.quantity),
        "contract_size": fixed_text(row.contract_size),
        "entry_price": fixed_text(row.entry_price),
        "exit_price": fixed_text(row.exit_price),
        "planned_stop": to_plain(row.planned_stop),
        "opened_at_ms": row.opened_at_ms,
        "closed_at_ms": row.closed_at_ms,
        "pnl_gross": fixed_text(row.pnl_gross),
        "fees": fixed_text(row.fees),
        "funding": fixed_text(row.funding),
        "slippage": fixed_text(row.slippage),
        "pnl_net": fixed_text(row.pnl_net),
        "r": row.r_multiple,
        "exit_reason": str(row.exit_reason),
    }


def hold_open_trade(row: OpenTradeRow, market: RecordedMarket, as_of_ms: int) -> Holding:
    """Return an open trade's time until ``as_of_ms`` and its entry value in money."""
    size = market.instruments[market.symbols.index(row.symbol)].contract_size
    return Holding(
        from_ms=row.opened_at_ms,
        until_ms=as_of_ms,
        entry_value=row.entry_price * row.quantity * size,
    )


def list_open_trade(row: OpenTradeRow, holding: Holding) -> OpenPosition:
    """Return an open trade as the report lists it."""
    return {
        "trade_id": row.trade_id,
        "symbol": row.symbol,
        "strategy": row.strategy,
        "side": str(row.side),
        "quantity": fixed_text(row.quantity),
        "entry_price": fixed_text(row.entry_price),
        "entry_value": fixed_text(holding.entry_value),
        "opened_at_ms": row.opened_at_ms,
    }


def list_drawdown(found: Drawdown | None, end_ms: int) -> DrawdownReport | None:
    """Return a drawdown with its times in ms; None if there is no drawdown.

    A drawdown that has not recovered lasts until ``end_ms``, and its ``recovery_ms`` is None.
    """
    if found is None or found.peak_ms is None or found.trough_ms is None:
        return None
    return {
        "value": found.value,
        "peak_ms": found.peak_ms,
        "trough_ms": found.trough_ms,
        "recovery_ms": found.recovery_ms,
        "duration_ms": drawdown_ms(found, end_ms),
    }


def join_open_day(days: Sequence[DayRow], now: DayRow | None) -> tuple[DayRow, ...]:
    """Return the rows of ended days, then the row of the open day.

    An open row of less than a minute without a trade or a change of equity is left out: the last
    snapshot comes a second after the last midnight.
    """
    if now is None:
        return tuple(days)
    idle = now.equity_start == now.equity_end and not now.trades
    return tuple(days) if idle and _is_instant(now) else (*days, now)


def list_days(rows: Iterable[DayRow]) -> list[DayReport]:
    """Return the rows of days as the report lists them, in their order."""
    return [
        {
            "day": row.day,
            "complete": row.complete,
            "equity_start": fixed_text(row.equity_start),
            "equity_end": fixed_text(row.equity_end),
            "return_twr": row.return_,
            "trades": row.trades,
        }
        for row in rows
    ]


def list_months(rows: Iterable[DayRow]) -> list[MonthReport]:
    """Return the months of the rows, which are given oldest first.

    A row of less than a minute, as of the snapshot after the last midnight, begins no month: it
    counts in the month before.
    """
    found: list[MonthReport] = []
    for month, days in groupby(rows, _month_of):
        counted = tuple(days)
        total = add_up_month(month, counted)
        found.append(
            {
                "month": month,
                "complete": _is_whole(month, [row for row in counted if not _is_instant(row)]),
                "return_twr": total.return_,
                "trades": total.trades,
            }
        )
    return found


def _is_instant(row: DayRow) -> bool:
    return row.end_ms - row.start_ms < MINUTE_MS


def _month_of(row: DayRow) -> str:
    return utc_day(row.start_ms - 1)[:7] if _is_instant(row) else row.last_day[:7]


def _is_whole(month: str, days: Sequence[DayRow]) -> bool:
    """Return True if the rows are all complete days of the month."""
    bounds = tuple(midnight_ms_of(f"{each}-01") for each in (month, next_month(month)))
    complete = bool(days) and all(row.complete for row in days)
    return complete and (days[0].start_ms, days[-1].end_ms) == bounds


def describe_r(trades: Sequence[ClosedTrade]) -> RReport:
    """Return the distribution of R, with the best and the worst trades by R."""
    values = [trade.r for trade in trades if trade.r is not None]
    best, worst = rank_by_r(trades)
    return {
        "bins": [
            {"low": each.low, "high": each.high, "trades": each.trades} for each in bin_r(values)
        ],
        "trades": len(values),
        "without_r": len(trades) - len(values),
        "best": list(best),
        "worst": list(worst),
    }


def list_tables(trades: Sequence[ClosedTrade]) -> dict[str, list[GroupReport]]:
    """Return a table of trade sums for each of ``GROUPINGS``, by the grouping's name."""
    return {
        by: [
            {
                "key": group.key,
                "trades": group.sums.trades,
                "wins": group.sums.wins,
                "win_rate": group.sums.win_rate,
                "expectancy_r": group.sums.expectancy_r,
                "profit_factor": group.sums.profit_factor,
                "pnl_net": fixed_text(group.pnl_net),
                "fees": fixed_text(group.fees),
                "funding": fixed_text(group.funding),
                "slippage": fixed_text(group.slippage),
            }
            for group in group_trades(trades, by)
        ]
        for by in GROUPINGS
    }


def list_refusals(counts: Iterable[RefusalCount]) -> list[RefusalReport]:
    """Return the counts of refusal codes; the meaning of an unknown code is empty."""
    return [
        {
            "tier": str(each.tier),
            "code": each.code,
            "count": each.count,
            "meaning": MEANINGS.get(each.code, ""),
        }
        for each in counts
    ]


def list_halts(periods: Iterable[HaltPeriod]) -> list[HaltReport]:
    """Return halts and periods of reduced size, oldest first."""
    return [
        {
            "state": str(period.state),
            "reason": str(period.reason),
            "from_ms": period.from_ms,
            "until_ms": period.until_ms,
        }
        for period in sorted(periods, key=lambda period: period.from_ms)
    ]
