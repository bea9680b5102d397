"""Invariant 7, in the journal: deposits and results explain the wallet balance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from kamou.core.book import events as e
from kamou.core.book.late_events import ResultCorrected
from kamou.core.book.position_book import PositionBook
from kamou.venue.checker import CENT
from kamou.venue.engine import Engine


def find_unexplained_money(
    book: PositionBook, events: Sequence[e.Event], engine: Engine, start: Decimal
) -> Iterator[str]:
    """Yield a wallet balance that the journal does not explain to the cent.

    ``start`` is the wallet balance at the start, in USDT. Nothing is checked if a position was
    corrected or adopted, or if a fill has no intent, because such fills belong to no trade.
    """
    corrected = any(isinstance(ev, e.PositionCorrected | e.PositionAdopted) for ev in events)
    intended = {ev.intent.client_order_id for ev in events if isinstance(ev, e.IntentRecorded)}
    if corrected or any(
        f.client_order_id and f.client_order_id not in intended for f in engine.fills(0)
    ):
        return  # external fills, and fills without an intent, are in no trade
    balance = start + book.transfers.net_deposits
    balance += sum((ev.pnl_net for ev in events if isinstance(ev, e.TradeClosed)), Decimal(0))
    balance += sum((ev.added for ev in events if isinstance(ev, ResultCorrected)), Decimal(0))
    balance += sum((c.added for c in book.trades.pending_corrections(0)), Decimal(0))
    for trade in (*book.trades.open.values(), *book.trades.finished.values()):
        balance += trade.realized - trade.fees + trade.funding
    reported = engine.account().wallet_balance
    if abs(balance - reported) >= CENT:
        yield f"wallet balance: {balance} by the journal, {reported} at the venue"
