"""A strategy's record for the gate, gathered from the position book."""

from __future__ import annotations

from collections.abc import Iterator

from kamou.core.book.book_state import BookState
from kamou.core.book.shadow_trades import ShadowResult
from kamou.core.record.canary import Pair
from kamou.core.record.e_values import ResultOfTrade
from kamou.core.record.gate_transitions import GateRecord


def find_strategies(book: BookState) -> list[str]:
    """Return the strategies with a shadow trade or a change at the gate, by name."""
    shadow = book.shadows
    closed = {each.strategy for each in shadow.closed.values()}
    return sorted(
        closed | {each.strategy for each in shadow.open.values()} | set(book.gate.strategies)
    )


def gather_record(book: BookState, strategy: str) -> GateRecord:
    """Return a strategy's record.

    A real trade that is flat and not published yet counts as open, because its R is not known.
    """
    gate, results = book.gate.find(strategy), book.shadows.results_of(strategy)
    trades = (*book.trades.open.values(), *book.trades.finished.values())
    real_open = (
        each.opened_at_ms
        for each in trades
        if each.strategy == strategy and 0 < gate.canary_at_ms <= each.opened_at_ms
    )
    shadow_open = (
        each.opened_at_ms for each in book.shadows.open.values() if each.strategy == strategy
    )
    return GateRecord(
        strategy=strategy,
        closed=tuple(map(_to_result, results)),
        open_since_ms=min(shadow_open, default=None),
        pairs=tuple(_find_pairs(book, strategy, results)),
        real_open_since_ms=min(real_open, default=None),
    )


def _to_result(result: ShadowResult) -> ResultOfTrade:
    return ResultOfTrade(
        strategy=result.strategy,
        symbol=result.symbol,
        opened_at_ms=result.opened_at_ms,
        closed_at_ms=result.closed_at_ms,
        r=result.r,
        pnl=result.pnl,
    )


def _find_pairs(
    book: BookState, strategy: str, results: tuple[ShadowResult, ...]
) -> Iterator[Pair]:
    """Yield the canary's closes whose shadow trade has closed, too.

    A trade has the id of its signal, as its shadow trade has. A part that a late fill opened again
    has another id, so it is no pair; neither is a trade without R.
    """
    by_id = {each.shadow_id: each for each in results}
    for close in book.gate.closes.get(strategy, ()):
        shadow = by_id.get(close.trade_id)
        if shadow is not None and close.r is not None:
            yield Pair(opened_at_ms=shadow.opened_at_ms, real_r=close.r, shadow_r=shadow.r)
