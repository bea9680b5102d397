"""Rows of shadow trades, and the projections that write them."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from typing import ClassVar

import attrs

from kamou.core.book.shadow_events import ShadowTradesClosed, ShadowTradesOpened
from kamou.core.kinds import ExitReason, RefinerVerdict
from kamou.core.model import Side
from kamou.store.table_rows import insert_many_new, make_row


@attrs.frozen(kw_only=True)
class ShadowTradeRow:
    """A shadow trade; the fields from ``closed_at_ms`` on are None while it is open."""

    table: ClassVar[str] = "shadow_trade"
    primary_key: ClassVar[tuple[str, ...]] = ("shadow_id",)
    shadow_id: str
    strategy: str
    symbol: str
    side: Side
    score: float
    verdict: RefinerVerdict
    size_multiplier: Decimal
    p_win_pct: int | None
    quantity: Decimal
    contract_size: Decimal
    planned_entry: Decimal
    entry_price: Decimal
    stop_price: Decimal
    target_price: Decimal
    planned_risk: Decimal
    opened_at_ms: int
    closes_by_ms: int
    closed_at_ms: int | None = None
    reason: ExitReason | None = None
    exit_price: Decimal | None = None
    gross: Decimal | None = None
    fees: Decimal | None = None
    funding: Decimal | None = None
    slippage: Decimal | None = None
    pnl: Decimal | None = None
    r: Decimal | None = None


def project_shadows_opened(cursor: sqlite3.Cursor, event: ShadowTradesOpened) -> None:
    """Write a row for each new shadow trade."""
    rows = [make_row(ShadowTradeRow, trade, slippage=None) for trade in event.trades]
    insert_many_new(cursor, rows)


def project_shadows_closed(cursor: sqlite3.Cursor, event: ShadowTradesClosed) -> None:
    """Write the results into the rows of shadow trades that are open."""
    cursor.executemany(
        "UPDATE shadow_trade SET closed_at_ms = ?, reason = ?, exit_price = ?, gross = ?,"
        " fees = ?, funding = ?, slippage = ?, pnl = ?, r = ?"
        " WHERE shadow_id = ? AND closed_at_ms IS NULL",
        [
            (
                each.closed_at_ms,
                *map(str, (each.reason, each.exit_price, each.gross, each.fees)),
                *map(str, (each.funding, each.slippage, each.pnl, each.r)),
                each.shadow_id,
            )
            for each in event.trades
        ],
    )
