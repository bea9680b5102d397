"""The public record a second time, from the venue's file and the market's prices.

What only Kamou knows (which plan an order belongs to, halts) is from the raw ``event`` rows.
Nothing here calls code of ``kamou/core`` or reads a read model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.web.ledger_by_definition import DAY_MS, LAST_DIGIT, Ledger, Stretch, total
from tests.web.raw_events import Plans
from tests.web.recomputed_statistics import bounds_of_days, snapshots_drawdown

D = Decimal
DAYS_MIN = 14
NEWEST = 20  # halts, downtime and transfers that the document lists


def day_ms(day: str) -> int:
    """Return 00:00 UTC of a day such as 2025-07-26, in ms."""
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)


HALTS = ("reduce_only", "flattening")


def differences(
    document: dict[str, Any], ledger: Ledger, plans: Plans, *, period_ms: int
) -> list[str]:
    """Return the wrong figures of ``/results.json``, as ``where: shown, right``."""
    as_of_ms = document["as_of_ms"]
    found: list[str] = []

    def same(where: str, shown: Any, right: Any) -> None:
        if isinstance(right, Decimal):
            equal = shown is not None and D(shown) == right.quantize(LAST_DIGIT)
        elif isinstance(right, float):
            equal = shown is not None and math.isclose(shown, right, rel_tol=1e-9, abs_tol=1e-12)
        else:
            equal = shown == right
        if not equal:
            found.append(f"{where}: {shown}, right is {right}")

    trades = ledger.trades(as_of_ms)
    same("as of", as_of_ms, plans.snapshot_ms)
    same("since", document["since_ms"], ledger.began_ms)
    same("equity", document["equity"], ledger.equity(as_of_ms))
    same("equity_start", document["equity_start"], ledger.start)
    same("net_deposits", document["net_deposits"], ledger.moved(0, as_of_ms))
    same("trades_total", document["trades_total"], len(trades))
    days = [_day(ledger, row["day"], row["last_day"], as_of_ms, trades) for row in document["days"]]
    for row, right in zip(document["days"], days, strict=True):
        for name, value in right.items():
            same(f"{row['day']} {name}", row[name], value)
    _of_months(document, ledger, days, same)
    complete = [day["return"] for day in days if day["complete"]]
    _of_days(document["performance"], complete, same)
    if len(complete) >= DAYS_MIN:
        # By the published returns: the resamples are seeded by their last bits.
        shown_returns = [row["return"] for row in document["days"] if row["complete"]]
        for name, (low, high) in bounds_of_days(shown_returns).items():
            same(f"{name} low", document["performance"][name]["low"], low)
            same(f"{name} high", document["performance"][name]["high"], high)
            same(f"{name} days", document["performance"][name]["interval"]["days"], len(complete))
    fall = snapshots_drawdown(ledger, plans.snapshots_ms)
    for name, value in fall.items():
        same(f"drawdown {name}", document["performance"]["max_drawdown_snapshots"][name], value)
    same("journal_seq", document["journal_seq"], plans.newest_seq)
    _of_trades("all", document["performance"], trades, plans, len(complete), same)
    for row in document["strategies"]:
        own = [trade for trade in trades if plans.strategy(trade) == row["name"]]
        _of_trades(row["name"], row["performance"], own, plans, len(complete), same)
        same(f"{row['name']} pnl_net", row["pnl_net"], total(t.net for t in own))
        same(f"{row['name']} fees", row["fees"], total(t.fees for t in own))
        same(f"{row['name']} funding", row["funding"], total(t.funding for t in own))
        same(f"{row['name']} slippage", row["slippage"], total(t.slippage for t in own))
    _of_spans(document, ledger, plans, period_ms, same)
    _of_operation(document, plans, same)
    change = total(D(day["pnl"]) for day in document["days"]) + D(document["net_deposits"])
    same("sum of the days", str(change), ledger.equity(as_of_ms) - ledger.start)
    return found


Same = Callable[[str, Any, Any], None]


def _day(
    ledger: Ledger, first: str, last: str, as_of_ms: int, trades: list[Stretch]
) -> dict[str, Any]:
    from_ms, to_ms = day_ms(first), day_ms(last) + DAY_MS
    began = from_ms >= ledger.began_ms
    end_ms = min(to_ms, as_of_ms)
    start = ledger.equity(from_ms) if from_ms > ledger.began_ms else ledger.start
    end = ledger.equity(end_ms)
    net_deposits = ledger.moved(from_ms, end_ms)
    read = "last_price_bars"  # the drawn market always has the bar that ended at 00:00
    return {
        "day": first,
        "start_marks_from": read if from_ms >= ledger.began_ms else None,
        "end_marks_from": read if to_ms <= as_of_ms else None,
        "equity_start": start,
        "equity_end": end,
        "net_deposits": net_deposits,
        "pnl": end - start - net_deposits,
        "return": ledger.growth(max(from_ms, ledger.began_ms), end_ms),
        "fees": ledger.fees(from_ms, end_ms),
        "funding": ledger.funding(from_ms, end_ms),
        "trades": sum(from_ms <= trade.closed_at_ms < end_ms for trade in trades),
        "complete": began and to_ms <= as_of_ms,
    }


def _of_operation(document: dict[str, Any], plans: Plans, same: Same) -> None:
    """Compare configurations, disabled strategies, and commands without a new state."""
    same("configuration", document["config_digest"], plans.configurations[-1]["digest"])
    changes = plans.changed_configurations
    same("config_changes", document["config_changes"], changes[-NEWEST:])
    same("config_changes_total", document["config_changes_total"], len(changes))
    disabled = plans.disabled_strategies
    same("disabled_strategies", document["disabled_strategies"], disabled[-NEWEST:])
    same("disabled total", document["disabled_strategies_total"], len(disabled))
    same("commands", document["commands"], plans.commands[-NEWEST:])


def _of_spans(
    document: dict[str, Any], ledger: Ledger, plans: Plans, period_ms: int, same: Same
) -> None:
    same("state", document["state"], plans.state)
    for name, states in (("halts", HALTS), ("reduced_size", ("reduced_size",))):
        shown = [(row["from_ms"], row["until_ms"], row["reason"]) for row in document[name]]
        same(name, shown, plans.spans(states)[-NEWEST:])
        same(f"{name}_total", document[f"{name}_total"], len(plans.spans(states)))
        for row in document[name]:
            steps = [(step["at_ms"], step["note"]) for step in row["steps"]]
            same(f"{name} steps", steps, plans.steps(row["from_ms"], row["until_ms"]))
            if row["end"] is not None:
                ended = (row["end"]["reason"], row["end"]["note"])
                same(f"{name} end", ended, plans.ending(row["until_ms"]))
    silence = plans.silence(2 * period_ms)
    right = [(a, b, plans.cause(a, b, 2 * period_ms)) for a, b in silence]
    gaps = [(row["from_ms"], row["until_ms"], row["cause"]) for row in document["downtime"]]
    same("downtime", gaps, right[-NEWEST:])
    same("downtime_total", document["downtime_total"], len(silence))
    paid = [
        (
            row["at_ms"],
            D(row["amount"]),
            ledger.just_before(row["at_ms"]).quantize(LAST_DIGIT),
            "mark_history",  # the embedded exchange lists past marks
        )
        for row in ledger.transfers(0, document["as_of_ms"])
    ]
    listed = [
        (
            row["at_ms"],
            D(row["amount"]),
            D(row["equity_before"]).quantize(LAST_DIGIT),
            row["marks_from"],
        )
        for row in document["transfers"]
    ]
    same("transfers", listed, paid[-NEWEST:])
    same("transfers_total", document["transfers_total"], len(paid))


def _month_ms(month: str) -> tuple[int, int]:
    """Return 00:00 UTC of the first day of a month and of the next month, in ms."""
    first = datetime.fromisoformat(f"{month}-01").replace(tzinfo=UTC)
    later = (first + timedelta(days=31)).replace(day=1)
    return int(first.timestamp() * 1000), int(later.timestamp() * 1000)


def _of_months(
    document: dict[str, Any], ledger: Ledger, days: list[dict[str, Any]], same: Same
) -> None:
    for row in document["months"]:
        own = [day for day in days if day["day"].startswith(row["month"])]
        for name in ("pnl", "net_deposits", "fees", "funding"):
            same(f"{row['month']} {name}", row[name], total(day[name] for day in own))
        same(f"{row['month']} equity_end", row["equity_end"], own[-1]["equity_end"])
        same(f"{row['month']} trades", row["trades"], sum(day["trades"] for day in own))
        complete = [day for day in own if day["complete"]]
        same(f"{row['month']} complete_days", row["complete_days"], len(complete))
        gaining = sum(day["return"] > 0 for day in complete)
        losing = sum(day["return"] < 0 for day in complete)
        same(f"{row['month']} gaining_days", row["gaining_days"], gaining)
        same(f"{row['month']} losing_days", row["losing_days"], losing)
        began, ended = _month_ms(row["month"])
        within = ledger.began_ms <= began and ended <= document["as_of_ms"]
        same(f"{row['month']} complete", row["complete"], within)
        whole = math.prod(1.0 + day["return"] for day in own) - 1.0
        same(f"{row['month']} return", row["return"], whole)


def _of_days(shown: dict[str, Any], complete: list[float], same: Same) -> None:
    n = len(complete)
    for name in ("return_twr", "max_drawdown", "sharpe", "sortino"):
        same(f"{name} n", shown[name]["n"], n)
        if n < DAYS_MIN:
            same(name, shown[name]["value"], None)
    if n < DAYS_MIN:
        return
    index = [math.prod(1.0 + r for r in complete[:i]) for i in range(n + 1)]
    mean = math.fsum(complete) / n
    deviation = math.sqrt(math.fsum((r - mean) ** 2 for r in complete) / (n - 1))
    downside = math.sqrt(math.fsum(min(r, 0.0) ** 2 for r in complete) / n)
    falls = [index[i] / max(index[: i + 1]) - 1.0 for i in range(n + 1)]
    same("return_twr", shown["return_twr"]["value"], index[-1] - 1.0)
    same("max_drawdown", shown["max_drawdown"]["value"], min(falls))
    same("sharpe", shown["sharpe"]["value"], mean / deviation * math.sqrt(365))
    same("sortino", shown["sortino"]["value"], mean / downside * math.sqrt(365))


def _of_trades(
    who: str,
    shown: dict[str, Any],
    trades: list[Stretch],
    plans: Plans,
    complete_days: int,
    same: Same,
) -> None:
    same(f"{who} trades", shown["trades"]["value"], len(trades))
    with_r = [r for r in map(plans.r, trades) if r is not None]
    same(f"{who} win_rate n", shown["win_rate"]["n"], len(trades))
    same(f"{who} expectancy_r n", shown["expectancy_r"]["n"], len(with_r))
    if shown["win_rate"]["value"] is not None:
        wins = sum(trade.net > 0 for trade in trades)
        same(f"{who} win_rate", shown["win_rate"]["value"], wins / len(trades))
    if complete_days < DAYS_MIN:
        same(f"{who} expectancy_r", shown["expectancy_r"]["value"], None)
        same(f"{who} profit_factor", shown["profit_factor"]["value"], None)
        return
    if shown["expectancy_r"]["value"] is not None:
        same(f"{who} expectancy_r", shown["expectancy_r"]["value"], math.fsum(with_r) / len(with_r))
        won = total(t.net for t in trades if t.net > 0)
        lost = -total(t.net for t in trades if t.net < 0)
        same(f"{who} profit_factor", shown["profit_factor"]["value"], float(won / lost))
