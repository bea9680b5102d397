"""Query of a closed trade's net PnL over the worst case of its permit.

The figures are those of the events of the permit and the trade.
"""

from __future__ import annotations

import sqlite3

from kamou.core.book.events import PermitGranted, TradeClosed
from kamou.core.book.trades import r_multiple
from kamou.core.model import OrderRole
from kamou.messages.codec import decode, kind_of
from kamou.store.rows import TradeRow

# A late fill of an entry reopens a trade, and its second result has an id of its own. The orders
# and fills of both results have the trade's id, which is the cause of each result.
_PERMIT = """SELECT granted.body FROM event closed
    CROSS JOIN fill ON fill.trade_id = closed.cause_id AND fill.at_ms BETWEEN ? AND ?
    CROSS JOIN order_ ON order_.client_order_id = fill.client_order_id AND order_.role = ?
    CROSS JOIN event granted ON granted.kind = ? AND granted.key = order_.permit_id
    WHERE closed.kind = ? AND closed.key = ? ORDER BY fill.rowid LIMIT 1"""


def worst_case_r(reader: sqlite3.Connection, trade: TradeRow) -> float | None:
    """Return net PnL over the worst case of the filled quantity.

    Return None for a trade without R or a permit, or with a worst case of 0. The plan's ``risk`` is
    the worst case of the planned quantity; it is scaled to the filled quantity. Both quantities are
    in units of the base currency, because the venue may have changed the contract size between
    permit and close.
    """
    if trade.r_multiple is None:
        return None
    span = (trade.opened_at_ms, trade.closed_at_ms, OrderRole.ENTRY)
    kinds = (kind_of(PermitGranted), kind_of(TradeClosed))
    row = reader.execute(_PERMIT, (*span, *kinds, trade.trade_id)).fetchone()
    if row is None:
        return None
    plan = decode(PermitGranted, row[0]).plan
    planned = plan.quantity * plan.contract_size
    filled = trade.quantity * trade.contract_size
    found = r_multiple(trade.pnl_net, plan.risk * filled / planned)
    return None if found is None else float(found)
