"""The report of a backtest: figures from its journal and the venue's records."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from operator import itemgetter

import attrs

from kamou import __version__
from kamou.core.day import DAY_MS
from kamou.core.model import ZERO
from kamou.core.plain import fixed_text
from kamou.core.record.backtest_document import (
    BacktestReport,
    FailureReport,
    RunCounts,
    StrategyReport,
    TestedSpan,
    Waterfall,
)
from kamou.core.record.backtest_figures import BacktestRecord, backtest_figures, pair_of_drawdowns
from kamou.core.record.underwater import depths_below_peak
from kamou.core.strategies import make_strategies
from kamou.runs import backtest_lists as lists
from kamou.runs.dataset_notes import (
    describe_dataset_notes,
    describe_inputs,
    find_dataset_notes,
)
from kamou.runs.facts import facts_digest
from kamou.runs.tested_market import describe_data, measure_market
from kamou.settings.config import Settings, canonical_json, digest
from kamou.settings.strategies import StrategySettings
from kamou.store import public_queries, queries
from kamou.store.day_rows import add_up_open_row
from kamou.store.record_rows import EquityPoint
from kamou.store.refusal_counts import count_by_strategy, count_refusals
from kamou.store.rows import TradeRow
from kamou.store.state_history import PeriodKind, query_periods
from kamou.venue.checker import CheckReport
from kamou.venue.market.recorded import RecordedMarket
from kamou.venue.state import AuditRecord

PERIODS_MAX = 1_000  # halts in a report, and periods of reduced size
NO_CONDITIONS: Mapping[str, Mapping[str, str]] = {}


@attrs.frozen(kw_only=True, eq=False)
class FinishedBacktest:
    """Inputs of a backtest's report, taken after its tree has stopped."""

    reader: sqlite3.Connection  # of the journal
    market: RecordedMarket
    audit_log: Sequence[AuditRecord]  # the venue's own records
    checked: CheckReport  # the checker's result over these records
    settings: Settings
    from_ms: int
    until_ms: int  # the requested end, or that of the data; an interrupted backtest ended earlier
    interrupted: bool = False
    strategy_failures: Sequence[FailureReport] = ()


@attrs.frozen(kw_only=True, eq=False)
class _Record:
    """The journal's record as of its newest equity snapshot."""

    curve: tuple[EquityPoint, ...]
    points: tuple[tuple[int, float], ...]  # time in ms and equity of the curve; never empty
    trades: tuple[TradeRow, ...]  # oldest first

    @property
    def as_of_ms(self) -> int:
        return self.points[-1][0]


def report_backtest(finished: FinishedBacktest) -> BacktestReport:
    """Return the report of a finished backtest."""
    reader, market = finished.reader, finished.market
    record = _read_record(finished)
    as_of_ms = record.as_of_ms
    tested = _make_tested(finished, record)
    max_drawdown, longest = pair_of_drawdowns(record.points)
    depths = depths_below_peak(record.points)
    notes = find_dataset_notes(reader, market, finished.from_ms, as_of_ms)
    held = queries.query_open_trades(reader, as_of_ms=as_of_ms)
    days = lists.join_open_day(public_queries.all_days(reader), add_up_open_row(reader))
    periods = (
        period
        for kind in PeriodKind
        for period in query_periods(reader, kind, limit=PERIODS_MAX, until_ms=as_of_ms)
    )
    return {
        **_count_run(finished, record, max_drawdown.value if max_drawdown else 0.0),
        "version": __version__,
        "currency": finished.settings.currency,
        "settings": json.loads(canonical_json(finished.settings)),
        "config_digest": digest(finished.settings),
        "data": describe_data(market, as_of_ms),
        "data_notes": [*describe_inputs(market), *describe_dataset_notes(notes)],
        "dataset_notes": notes,
        "strategy_failures": list(finished.strategy_failures),
        "strategy_files": finished.settings.strategies.enabled_hashes,
        "tested": _describe_span(finished, record),
        "figures": backtest_figures(tested),
        "waterfall": _describe_costs(finished, record),
        "unrealized_pnl": fixed_text(record.curve[-1].unrealized_pnl if record.curve else ZERO),
        "open_positions": [
            lists.list_open_trade(row, lists.hold_open_trade(row, market, as_of_ms)) for row in held
        ],
        "drawdowns": {
            "deepest": lists.list_drawdown(max_drawdown, as_of_ms),
            "longest": lists.list_drawdown(longest, as_of_ms),
        },
        "days": lists.list_days(days),
        "months": lists.list_months(days),
        "r_distribution": lists.describe_r(tested.trades),
        "tables": lists.list_tables(tested.trades),
        "refusals": lists.list_refusals(count_refusals(reader)),
        "halt_list": lists.list_halts(periods),
        "trade_list": [lists.list_trade(row) for row in record.trades],
        "equity_curve": [
            {"at_ms": point.at_ms, "equity": fixed_text(point.equity), "drawdown": depth}
            for point, (_, depth) in zip(record.curve, depths, strict=False)
        ],
    }


def _count_run(finished: FinishedBacktest, record: _Record, depth: float) -> RunCounts:
    """Return the counts and sums of the whole run; ``depth`` is the maximum drawdown."""
    reader, market, checked = finished.reader, finished.market, finished.checked
    counts, start = queries.query_counts(reader), finished.settings.equity
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
        "equity_end": str(record.curve[-1].equity if record.curve else start),
        "fees": str(checked.fees),
        "funding": str(checked.funding),
        "slippage": str(_sum_slippage(reader, 2**62)),
        "max_drawdown": depth,
        "worst_overshoot_r": str(checked.worst_overshoot_r),
        "halts": queries.query_totals(reader)["halts"],
        "violations": len(checked.violations),
        "violation_list": [
            {"rule": v.rule, "at_ms": v.at_ms, "symbol": v.symbol, "detail": v.detail}
            for v in checked.violations
        ],
        "by_strategy": _by_strategy(reader, find_conditions(finished.settings.strategies)),
        "digest": queries.journal_digest(reader),
        "facts_digest": facts_digest(finished.audit_log, reader, checked.violations),
    }


def _read_record(finished: FinishedBacktest) -> _Record:
    curve = queries.query_equity(finished.reader)
    points = tuple((point.at_ms, float(point.equity)) for point in curve)
    points = points or ((finished.from_ms, float(finished.settings.equity)),)
    newest_first = queries.query_trades(finished.reader, until_ms=points[-1][0])
    return _Record(curve=curve, points=points, trades=newest_first[::-1])


def _make_tested(finished: FinishedBacktest, record: _Record) -> BacktestRecord:
    """Return the values from which the figures are computed."""
    held = queries.query_open_trades(finished.reader, as_of_ms=record.as_of_ms)
    days = public_queries.all_days(finished.reader)
    return BacktestRecord(
        curve=record.points,
        daily=[row.return_ for row in days if row.complete and row.return_ is not None],
        trades=[lists.read_trade(row) for row in record.trades],
        open_holdings=[
            lists.hold_open_trade(row, finished.market, record.as_of_ms) for row in held
        ],
        market=measure_market(finished.market, finished.from_ms, record.as_of_ms),
    )


def _describe_span(finished: FinishedBacktest, record: _Record) -> TestedSpan:
    return {
        "from_ms": finished.from_ms,
        "until_ms": finished.until_ms,
        "as_of_ms": record.as_of_ms,
        "days": round((record.as_of_ms - finished.from_ms) / DAY_MS, 3),
        "interrupted": finished.interrupted,
    }


def _describe_costs(finished: FinishedBacktest, record: _Record) -> Waterfall:
    """Return gross PnL, costs and net PnL up to the newest equity snapshot."""
    as_of_ms = record.as_of_ms
    start = finished.settings.equity
    net = (record.curve[-1].equity if record.curve else start) - start
    reader = finished.reader
    fees = _sum(reader, "SELECT fee FROM fill WHERE at_ms <= ?", as_of_ms)
    funding = _sum(
        reader, "SELECT amount FROM income WHERE kind = 'funding' AND at_ms <= ?", as_of_ms
    )
    slippage = _sum_slippage(reader, as_of_ms)
    closed = sum((trade.pnl_net for trade in record.trades), ZERO)
    return {
        "gross": fixed_text(net + slippage + fees - funding),
        "slippage": fixed_text(slippage),
        "fees": fixed_text(fees),
        "funding": fixed_text(funding),
        "net": fixed_text(net),
        "closed": fixed_text(closed),
        "open": fixed_text(net - closed),
    }


def _sum_slippage(reader: sqlite3.Connection, until_ms: int) -> Decimal:
    return _sum(reader, "SELECT slippage FROM fill WHERE at_ms <= ?", until_ms)


def _sum(reader: sqlite3.Connection, query: str, until_ms: int) -> Decimal:
    return sum((Decimal(row[0]) for row in reader.execute(query, (until_ms,))), ZERO)


def find_conditions(chosen: StrategySettings) -> dict[str, dict[str, str]]:
    """Return what each enabled strategy wants, by its name and by code.

    The codes are those of abstentions.
    """
    others = {name: file.factory for name, file in chosen.files.items()}
    made = make_strategies(chosen.enabled, chosen.parameters, others)
    return {
        name: {code.name: each.wanted for code, each in strategy.requirements.items()}
        for name, strategy in made.items()
    }


def _by_strategy(
    reader: sqlite3.Connection, enabled: Mapping[str, Mapping[str, str]] = NO_CONDITIONS
) -> dict[str, StrategyReport]:
    """Return the counts and results of each strategy, by its name.

    They are the enabled ones, and those that have a trade, such as adopted positions. ``enabled``
    has the conditions of ``find_conditions``.
    """
    rows = reader.execute("SELECT strategy, pnl_net, r_multiple FROM trade ORDER BY strategy")
    closed = {name: list(trades) for name, trades in groupby(rows, itemgetter(0))}
    counts = count_by_strategy(reader)
    found: dict[str, StrategyReport] = {}
    for strategy in sorted({*enabled, *closed}):
        results = [(Decimal(net), r) for _, net, r in closed.get(strategy, ())]
        multiples = [r for _, r in results if r is not None]
        counted, wanted = counts.get(strategy), enabled.get(strategy, {})
        abstained = dict(counted.abstained) if counted else {}
        found[strategy] = {
            "candidates": counted.candidates if counted else 0,
            "abstained": abstained,
            "wanted": {code: wanted[code] for code in abstained if code in wanted},
            "trades": len(results),
            "wins": sum(net > 0 for net, _ in results),
            "pnl_net": str(sum((net for net, _ in results), ZERO)),
            "mean_r": round(sum(multiples, 0.0) / len(multiples), 6) if multiples else None,
            "without_r": len(results) - len(multiples),
        }
    return found
