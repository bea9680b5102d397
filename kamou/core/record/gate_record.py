"""A strategy's record for the gate, gathered from the position book.

A look at the gate follows each close, and a record may have ten thousand trades. So a look first
asks for ``key_of_look``, which walks none of them, and gathers the record only under a new key.
"""

from __future__ import annotations

from collections.abc import Iterator

from kamou.core.book.book_state import BookState
from kamou.core.book.shadow_trades import ShadowResult
from kamou.core.day import DAY_MS
from kamou.core.record.canary import Pair
from kamou.core.record.e_values import TRADE_R_MIN, ResultOfTrade
from kamou.core.record.gate_transitions import GateRecord


def find_strategies(book: BookState) -> list[str]:
    """Return the strategies with a shadow trade or a change at the gate, by name."""
    shadow = book.shadows
    return sorted(
        {*shadow.lowest_r, *book.gate.strategies, *(each.strategy for each in shadow.open.values())}
    )


LookKey = tuple[object, ...]
"""What a look depends on; two looks with equal keys have the same result."""


def key_of_look(book: BookState, strategy: str, now_ms: int) -> LookKey:
    """Return the key of a look at a strategy.

    It differs once the transition that the record makes may differ: a block is complete, a trade
    lost more than the gate allows, or a canary's trade closed. All trades that opened before the
    day from which none counts have closed.
    """
    gate, shadow = book.gate.find(strategy), book.shadows
    open_since_ms, lowest_r = shadow.open_since_ms(strategy), shadow.lowest_r.get(strategy)
    empty = GateRecord(strategy=strategy, closed=(), open_since_ms=open_since_ms)
    until_ms = empty.until_ms(now_ms)
    return (
        gate,
        now_ms >= gate.not_before_ms,
        until_ms,
        shadow.count_opened_before(strategy, until_ms // DAY_MS),
        lowest_r is not None and lowest_r < TRADE_R_MIN,
        book.gate.closes.get(strategy, ()),
        _find_real_open_ms(book, strategy),
    )


def gather_record(book: BookState, strategy: str) -> GateRecord:
    """Return a strategy's record.

    A real trade that is flat and not published yet counts as open, because its R is not known.
    """
    return GateRecord(
        strategy=strategy,
        closed=tuple(map(_to_result, book.shadows.results_of(strategy))),
        open_since_ms=book.shadows.open_since_ms(strategy),
        pairs=tuple(_find_pairs(book, strategy)),
        real_open_since_ms=_find_real_open_ms(book, strategy),
    )


def _find_real_open_ms(book: BookState, strategy: str) -> int | None:
    """Return the opening of a canary's oldest open real trade; None without one.

    A real trade belongs to the block of its shadow trade, also if its entry filled after midnight.
    """
    since_ms = book.gate.find(strategy).canary_at_ms
    if not since_ms:
        return None
    trades = (*book.trades.open.values(), *book.trades.finished.values())
    times = []
    for each in trades:
        if each.strategy == strategy and each.opened_at_ms >= since_ms:
            shadow_ms = book.shadows.opening_of(each.trade_id)
            times.append(each.opened_at_ms if shadow_ms is None else shadow_ms)
    return min(times, default=None)


def _to_result(result: ShadowResult) -> ResultOfTrade:
    return ResultOfTrade(
        strategy=result.strategy,
        symbol=result.symbol,
        opened_at_ms=result.opened_at_ms,
        closed_at_ms=result.closed_at_ms,
        r=result.r,
        pnl=result.pnl,
    )


def _find_pairs(book: BookState, strategy: str) -> Iterator[Pair]:
    """Yield the canary's closes whose shadow trade has closed, too.

    A trade has the id of its signal, as its shadow trade has. A part that a late fill opened again
    has another id, so it is no pair; neither is a trade without R.
    """
    for close in book.gate.closes.get(strategy, ()):
        shadow = book.shadows.closed.get(close.trade_id)
        if shadow is not None and shadow.strategy == strategy and close.r is not None:
            yield Pair(opened_at_ms=shadow.opened_at_ms, real_r=close.r, shadow_r=shadow.r)
