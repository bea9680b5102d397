"""The report of a backtest: figures from its journal and the venue's records."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs

from kamou.core.model import ZERO
from kamou.runs.facts import facts_digest
from kamou.store import queries
from kamou.venue.checker import CheckReport
from kamou.venue.market.recorded import RecordedMarket
from kamou.venue.state import AuditRecord


def report_backtest(
    reader: sqlite3.Connection,
    market: RecordedMarket,
    audit_log: Sequence[AuditRecord],
    checked: CheckReport,
    *,
    start: Decimal,
) -> dict[str, Any]:
    """Return the report: counts and ratios as numbers, money as decimal text.

    ``violations`` is the number of violations of hard rules that the independent checker found in
    the venue's records; ``violation_list`` has each. ``worst_overshoot_r`` is the largest distance
    of a stop's fill beyond its trigger, divided by the distance between entry and trigger; it is
    decimal text too.

    Args:
        reader: of the journal.
        market: the recorded market.
        audit_log: the venue's own records.
        checked: the checker's result over these records.
        start: equity at the start, money.
    """
    counts = queries.query_counts(reader)
    curve = queries.query_equity(reader)
    equities = [float(point.equity) for point in curve]
    end = curve[-1].equity if curve else start
    return {
        "symbols": len(market.symbols),
        "bars": market.recorded_bars,
        "first_ms": market.first_ms,
        "last_ms": market.last_ms,
        "cycles": counts.cycles,
        "candidates": counts.candidates,
        "abstained": counts.abstained,
        "vetoed": counts.vetoed,
        "refused": counts.refused,
        "orders": checked.orders,
        "fills": checked.fills,
        "trades": counts.trades,
        "equity_start": str(start),
        "equity_end": str(end),
        "fees": str(checked.fees),
        "funding": str(checked.funding),
        "slippage": str(_sum(reader, "SELECT slippage FROM fill")),
        "max_drawdown": _max_drawdown(equities),
        "worst_overshoot_r": str(checked.worst_overshoot_r),
        "halts": queries.query_totals(reader)["halts"],
        "violations": len(checked.violations),
        "violation_list": [attrs.asdict(violation) for violation in checked.violations],
        "by_strategy": _by_strategy(reader),
        "digest": queries.journal_digest(reader),
        "facts_digest": facts_digest(audit_log, reader, checked.violations),
    }


def _sum(reader: sqlite3.Connection, query: str) -> Decimal:
    return sum((Decimal(row[0]) for row in reader.execute(query)), ZERO)


def _max_drawdown(equities: list[float]) -> float:
    """Return the maximum drawdown of the equity, a negative fraction or 0.

    A drawdown is the equity over its highest value until then, minus 1.
    """
    peak, worst = float("-inf"), 0.0
    for equity in equities:
        peak = max(peak, equity)
        worst = min(worst, equity / peak - 1.0)
    return worst


def _by_strategy(reader: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    """Return the number of closed trades, wins, net PnL and mean R of each strategy.

    ``without_r`` counts the trades of which no plan opened a part. They have no R, and the mean is
    None if no trade has one.
    """
    found: dict[str, dict[str, Any]] = {}
    rows = reader.execute("SELECT strategy, pnl_net, r_multiple FROM trade ORDER BY strategy")
    for strategy, net, r in rows:
        line = found.setdefault(
            strategy, {"trades": 0, "wins": 0, "pnl_net": ZERO, "mean_r": 0.0, "without_r": 0}
        )
        line["trades"] += 1
        line["wins"] += Decimal(net) > 0
        line["pnl_net"] += Decimal(net)
        line["mean_r"] += r or 0.0
        line["without_r"] += r is None
    for line in found.values():
        with_r = line["trades"] - line["without_r"]
        line["mean_r"] = round(line["mean_r"] / with_r, 6) if with_r else None
        line["pnl_net"] = str(line["pnl_net"])
    return found
