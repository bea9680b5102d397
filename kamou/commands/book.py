"""What the database last said of the account: for `status`, whether or not anything runs."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from kamou.config import Settings
from kamou.errors import NotRunningError
from kamou.folder import DataFolder


def open_database(folder: DataFolder) -> sqlite3.Connection:
    """A read-only connection.

    Raises:
        NotRunningError: nothing ever ran here.
        StoreError: the database cannot be read, is damaged, or is of a newer version.
    """
    from kamou.store.database import open_reader

    if not folder.database.exists():
        raise NotRunningError(
            f"nothing has run on the data folder {folder.path} yet: `kamou run` starts it"
        )
    _look_once(folder.database)
    return open_reader(folder.database)


@cache
def _look_once(path: Path) -> None:
    """Look at every page at the first opening; `status --watch` opens again and again."""
    from kamou.store.database import open_whole

    open_whole(path).close()


def describe(reader: sqlite3.Connection, settings: Settings) -> dict[str, Any]:
    """State, equity, the day's loss budget, positions and their stops, as plain data."""
    from kamou.store import queries

    latest = queries.latest(reader)
    resting = queries.open_orders(reader)
    stops = {order.trade_id: order for order in resting if order.leg == "stop"}
    equity = latest.equity.equity if latest.equity else None
    return {
        "as_of_ms": latest.at_ms,
        "mode": latest.mode,
        "state": latest.state.state if latest.state else "normal",
        "state_reason": latest.state.reason if latest.state else None,
        "state_since_ms": latest.state.from_ms if latest.state else None,
        "equity": _text(equity),
        "cycle_ms": latest.cycle.cycle_ms if latest.cycle else None,
        "day": _day(latest, settings),
        "positions": [
            {
                "symbol": trade.symbol,
                "side": trade.side,
                "strategy": trade.strategy,
                "quantity": str(trade.quantity),
                "entry_price": _text(trade.entry_price),
                "stop_price": _text(stops[trade.trade_id].trigger_price)
                if trade.trade_id in stops
                else None,
                "stop_status": stops[trade.trade_id].status if trade.trade_id in stops else None,
                "target_price": _text(trade.target_price),
                "opened_ms": trade.opened_ms,
            }
            for trade in queries.open_trades(reader)
        ],
        "resting_orders": len(resting),
    }


def _day(latest: Any, settings: Settings) -> dict[str, Any] | None:
    """The day's result so far against its loss limit, as fractions of its starting equity."""
    if latest.day is None or latest.equity is None or latest.day.equity_start <= 0:
        return None
    start = latest.day.equity_start
    result = (latest.equity.equity - start - latest.day.flows) / start
    limit = settings.risk.daily_loss_max
    return {
        "day": latest.day.day,
        "result": round(float(result), 6),
        "loss_limit": float(limit),
        "loss_budget_left": round(float(min(limit, max(Decimal(0), limit + result))), 6),
    }


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"
