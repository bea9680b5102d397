"""The report of a backtest: figures from its journal and the venue's records."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import NotRequired, TypedDict

from kamou.core.model import ZERO
from kamou.operator.answers import FailureReport
from kamou.runs.facts import facts_digest
from kamou.store import queries
from kamou.venue.checker import CheckReport
from kamou.venue.market.recorded import RecordedMarket
from kamou.venue.state import AuditRecord


class StrategyReport(TypedDict):
    """Closed trades of one strategy.

    ``without_r`` counts the trades of which no plan opened a part. They have no R, and the mean is
    None if no trade has one.
    """

    trades: int
    wins: int
    pnl_net: str  # money, decimal text
    mean_r: float | None
    without_r: int


class ViolationReport(TypedDict):
    """One violation of a hard rule, as ``kamou.venue.checker`` found it."""

    rule: str
    at_ms: int
    symbol: str
    detail: str


class BacktestReport(TypedDict):
    """The report of a backtest: counts and ratios as numbers, money as decimal text.

    ``violations`` is the number of violations of hard rules that the independent checker found in
    the venue's records; ``violation_list`` has each. ``worst_overshoot_r`` is the largest distance
    of a stop's fill beyond its trigger, divided by the distance between entry and trigger; it is
    decimal text too. ``replay`` adds ``strategy_failures`` and ``strategy_files``, the
    SHA-256 of each enabled strategy outside of the package; only ``runs.backtest.run`` adds the
    times and the memory.
    """

    symbols: int
    bars: int
    first_ms: int
    last_ms: int
    cycles: int
    candidates: int
    abstained: int
    vetoed: int
    refused: int
    orders: int
    fills: int
    trades: int
    equity_start: str
    equity_end: str
    fees: str
    funding: str
    slippage: str
    max_drawdown: float
    worst_overshoot_r: str
    halts: int
    violations: int
    violation_list: list[ViolationReport]
    by_strategy: dict[str, StrategyReport]
    strategy_failures: NotRequired[list[FailureReport]]
    strategy_files: NotRequired[dict[str, str]]
    digest: str
    facts_digest: str
    cpu_s: NotRequired[float]
    wall_s: NotRequired[float]
    peak_rss_mb: NotRequired[float]


def report_backtest(
    reader: sqlite3.Connection,
    market: RecordedMarket,
    audit_log: Sequence[AuditRecord],
    checked: CheckReport,
    *,
    start: Decimal,
) -> BacktestReport:
    """Return the report of a finished backtest.

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
        "violation_list": [
            {"rule": v.rule, "at_ms": v.at_ms, "symbol": v.symbol, "detail": v.detail}
            for v in checked.violations
        ],
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


def _by_strategy(reader: sqlite3.Connection) -> dict[str, StrategyReport]:
    """Return the closed trades of each strategy, by its name."""
    rows = reader.execute("SELECT strategy, pnl_net, r_multiple FROM trade ORDER BY strategy")
    found: dict[str, StrategyReport] = {}
    for strategy, trades in groupby(rows, itemgetter(0)):
        results = [(Decimal(net), r) for _, net, r in trades]
        multiples = [r for _, r in results if r is not None]
        found[strategy] = {
            "trades": len(results),
            "wins": sum(net > 0 for net, _ in results),
            "pnl_net": str(sum((net for net, _ in results), ZERO)),
            "mean_r": round(sum(multiples, 0.0) / len(multiples), 6) if multiples else None,
            "without_r": len(results) - len(multiples),
        }
    return found
