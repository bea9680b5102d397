"""Disabling of strategies that entered more often than their limits allow.

The rules ``entries_per_hour`` and ``reentries_per_day`` deny an entry that would exceed a limit. An
entry beyond a limit may still fill, for example if an order of unknown outcome was executed. This
module counts the trades that were opened. Only the operator resumes a disabled strategy.
"""

from __future__ import annotations

from collections.abc import Iterator

from kamou.core.book.position_book import PositionBook
from kamou.core.book.strategy_events import StrategyDisabled
from kamou.core.codes import Deny
from kamou.core.day import HOUR_MS, day_start_ms
from kamou.core.model import Figure
from kamou.core.risk.limits import RiskLimits


def find_repetition(
    book: PositionBook, limits: RiskLimits, now_ms: int
) -> Iterator[StrategyDisabled]:
    """Yield an event for each strategy beyond a limit, unless it is disabled already.

    The limits apply to a strategy's entries of the last hour, and to its re-entries of the UTC day
    in one symbol. Entries before the operator's last resume of the strategy do not count.
    """
    for strategy in sorted({entry.strategy for entry in book.recent_activity.entries}):
        if strategy in book.trading.disabled:
            continue
        resumed_ms = book.trading.resumed.get(strategy, 0)
        entries = [e for e in book.recent_activity.entries_by(strategy) if e.at_ms > resumed_ms]
        lately = sum(1 for entry in entries if entry.at_ms > now_ms - HOUR_MS)
        if lately > limits.entries_per_strategy_hour:
            limit = limits.entries_per_strategy_hour
            yield _disabled(
                strategy, Deny.RATE_ENTRIES_EXCEEDED, now_ms, entries=lately, limit=limit
            )
            continue
        today = [entry.symbol for entry in entries if entry.at_ms >= day_start_ms(now_ms)]
        most = max(sorted(set(today)), key=today.count, default="")
        again = today.count(most) - 1
        if again > limits.reentries_per_symbol_day:
            limit = limits.reentries_per_symbol_day
            yield _disabled(
                strategy,
                Deny.RATE_REENTRIES_EXCEEDED,
                now_ms,
                symbol=most,
                reentries=again,
                limit=limit,
            )


def _disabled(strategy: str, code: Deny, now_ms: int, **figures: object) -> StrategyDisabled:
    return StrategyDisabled(
        at_ms=now_ms,
        strategy=strategy,
        code=code,
        figures=tuple(Figure(name=name, value=str(value)) for name, value in figures.items()),
    )
