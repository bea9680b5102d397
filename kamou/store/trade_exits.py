"""Query of the reason of the flatten that closed a trade.

The trade's result has only the exit reason ``exit``.
"""

from __future__ import annotations

import json
import sqlite3

from kamou.core.book.events import FillRecorded, IntentRecorded, TradeClosed
from kamou.core.codes import StateReason
from kamou.core.kinds import ExitReason
from kamou.core.model import TradingState
from kamou.messages.codec import kind_of
from kamou.store.projected_orders import KILL_SWITCH
from kamou.store.rows import TradeRow

_INTENT = """SELECT CAST(intent.body AS TEXT) FROM event closed
    CROSS JOIN fill ON fill.trade_id = closed.cause_id
    CROSS JOIN event recorded ON recorded.kind = ? AND recorded.key = fill.key
    CROSS JOIN event intent ON intent.kind = ? AND intent.key = fill.client_order_id
    WHERE closed.kind = ? AND closed.key = ? AND recorded.seq < closed.seq
    ORDER BY fill.at_ms DESC, fill.rowid DESC LIMIT 1"""
_STATE = 'SELECT "after", reason FROM state WHERE at_ms <= ? ORDER BY seq DESC LIMIT 1'


def flatten_reason(reader: sqlite3.Connection, trade: TradeRow) -> StateReason | None:
    """Return the reason of the flatten that closed a trade; None if no flatten did.

    The kill switch works without a run, so its flatten is found by the intent of the last fill. Any
    other flatten is found by the trading state at the close.
    """
    if trade.exit_reason is not ExitReason.EXIT:
        return None
    kinds = (kind_of(FillRecorded), kind_of(IntentRecorded), kind_of(TradeClosed))
    row = reader.execute(_INTENT, (*kinds, trade.trade_id)).fetchone()
    if row is not None and json.loads(row[0])["intent"]["trade_id"].startswith(KILL_SWITCH):
        return StateReason.OPERATOR_FLATTEN
    state = reader.execute(_STATE, (trade.closed_at_ms,)).fetchone()
    if state is None or state[0] != TradingState.FLATTENING:
        return None
    return StateReason(state[1])
