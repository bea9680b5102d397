"""The JSON documents of ``/results.json`` and of a day.

Money is a decimal string, a ratio or return a number (0.01 is 1%), a time ms UTC. A value that is
unknown or does not exist is null.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from kamou.core.day import next_day
from kamou.core.plain import to_plain
from kamou.core.record.drawdown import Drawdown
from kamou.store.latest_events import DisabledSpan
from kamou.store.record_rows import DayRow, EquityMark, MonthRow
from kamou.store.rows import Downtime
from kamou.store.state_history import HaltPeriod, Step
from kamou.web.results import Results, StrategyResult


def results_document(results: Results) -> dict[str, object]:
    """Return the document of ``/results.json``.

    Days and months are oldest first, and the last one of each may be open.
    """
    return {
        "mode": results.mode,
        "market": results.market,
        "ended": results.ended,
        "since_ms": results.since_ms,
        "as_of_ms": results.as_of_ms,
        "currency": results.currency,
        "equity": to_plain(results.equity),
        "equity_start": to_plain(results.equity_start),
        "unrealized_pnl": to_plain(results.unrealized_pnl),
        "net_deposits": to_plain(results.net_deposits),
        "state": results.state,
        "performance": {
            **results.by_day.as_dict(),
            "max_drawdown_snapshots": _drawdown(results.drawdown),
            **results.by_trade.as_dict(),
        },
        "days": [day_document(day, results.marks) for day in reversed(results.days)],
        "days_total": results.days_total,
        "days_url": "/api/v1/public/days",
        "months": [_month(m, results.daily.complete_months) for m in reversed(results.months)],
        "strategies": [_strategy(strategy) for strategy in results.strategies],
        "trades_total": results.by_trade.trades.n,
        "halts": [_period(halt) for halt in results.halts],
        "halts_total": results.halts_total,
        "disabled_strategies": [_disabled(span) for span in results.disabled],
        "disabled_strategies_total": results.disabled_total,
        "reduced_size": [_period(period) for period in results.reduced_size],
        "reduced_size_total": results.reduced_size_total,
        "commands": [
            {"at_ms": c.at_ms, "reason": c.reason, "note": c.note} for c in results.commands
        ],
        "downtime": [_downtime(gap) for gap in results.downtime],
        "downtime_total": results.downtime_total,
        "transfers": [
            {
                "at_ms": t.at_ms,
                "amount": to_plain(t.amount),
                "equity_before": to_plain(t.equity_before),
                "marks_from": t.marks_from,
            }
            for t in results.transfers
        ],
        "transfers_total": results.transfers_total,
        "config_digest": results.config_digest,
        "config_changes": [
            {"at_ms": c.at_ms, "digest": c.digest, "reason": c.reason}
            for c in results.config_changes
        ],
        "config_changes_total": results.configs_total,
        "notices": list(results.notices),
        "equity_curve": [_point(mark) for mark in results.curve.points],
        "journal_seq": results.head_seq,
    }


def _drawdown(found: Drawdown) -> dict[str, object]:
    """Return an observed drawdown, which has a count and dates but no interval."""
    return {
        "value": found.value,
        "n": found.snapshots,
        "peak_ms": found.peak_ms,
        "trough_ms": found.trough_ms,
        "recovery_ms": found.recovery_ms,
        "unit": "fraction of the peak before the trough, over all equity snapshots",
    }


def day_document(day: DayRow, marks: Mapping[str, str]) -> dict[str, object]:
    """Return the document of one daily row.

    A row of days that are not separable has no return.

    Args:
        day: the row.
        marks: source of the marks of each midnight, by the day that begins there.
    """
    return {
        "day": day.day,
        "last_day": day.last_day,
        "return": day.return_ if day.separable else None,
        "pnl": to_plain(day.change),
        "equity_start": to_plain(day.equity_start),
        "equity_end": to_plain(day.equity_end),
        "net_deposits": to_plain(day.net_deposits),
        "trades": day.trades,
        "fees": to_plain(day.fees),
        "funding": to_plain(day.funding),
        "complete": day.complete,
        "separable": day.separable,
        "down": not day.separable,
        "start_rebuilt_from": day.start_rebuilt or None,
        "end_rebuilt_from": day.end_rebuilt or None,
        "start_marks_from": marks.get(day.day),
        "end_marks_from": marks.get(next_day(day.last_day)),
        "corrections": day.corrections,
    }


def _month(month: MonthRow, complete: Collection[str]) -> dict[str, object]:
    return {
        "month": month.month,
        "return": month.return_,
        "pnl": to_plain(month.change),
        "equity_end": to_plain(month.equity_end),
        "net_deposits": to_plain(month.net_deposits),
        "trades": month.trades,
        "fees": to_plain(month.fees),
        "funding": to_plain(month.funding),
        "complete": month.month in complete,
        "complete_days": month.complete,
        "gaining_days": month.gaining,
        "losing_days": month.losing,
        "unseparated_days": month.unseparated,
    }


def _point(mark: EquityMark) -> dict[str, object]:
    return {
        "at_ms": mark.at_ms,
        "equity": to_plain(mark.equity),
        "low": to_plain(mark.low),
        "high": to_plain(mark.high),
    }


def _strategy(strategy: StrategyResult) -> dict[str, object]:
    return {
        "name": strategy.name,
        "performance": strategy.statistics.as_dict(),
        "trades": strategy.statistics.trades.n,
        "pnl_net": to_plain(strategy.pnl_net),
        "fees": to_plain(strategy.fees),
        "funding": to_plain(strategy.funding),
        "slippage": to_plain(strategy.slippage),
    }


def _period(period: HaltPeriod) -> dict[str, object]:
    return {
        "from_ms": period.from_ms,
        "until_ms": period.until_ms,
        "state": period.state,
        "reason": period.reason,
        "steps": [_step(step) for step in period.steps],
        "steps_total": period.steps_total,
        "end": None if period.end is None else _step(period.end),
    }


def _disabled(span: DisabledSpan) -> dict[str, object]:
    return {
        "strategy": span.strategy,
        "from_ms": span.from_ms,
        "until_ms": span.until_ms,
        "reason": span.reason,
    }


def _step(step: Step) -> dict[str, object]:
    return {"at_ms": step.at_ms, "state": step.state, "reason": step.reason, "note": step.note}


def _downtime(gap: Downtime) -> dict[str, object]:
    return {"from_ms": gap.from_ms, "until_ms": gap.until_ms, "cause": gap.cause}
