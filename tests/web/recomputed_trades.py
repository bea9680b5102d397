"""Closed trades as ``/trades`` lists them, from the venue's fills and raw events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tests.web.ledger_by_definition import Ledger
from tests.web.raw_events import Plans
from tests.web.recomputed_statistics import bounds_of_trades

D = Decimal
INTERVALS = ("win_rate", "expectancy_r", "profit_factor")


def trade_differences(listed: Sequence[dict[str, Any]], ledger: Ledger, plans: Plans) -> list[str]:
    """Return the differences of the list, oldest first, from the venue's file."""
    found: list[str] = []
    trades = ledger.trades(plans.snapshot_ms)
    right_by_place = {(trade.symbol, trade.closed_at_ms): trade for trade in trades}
    shown_places = [(row["symbol"], row["closed_at_ms"]) for row in listed]
    if sorted(shown_places) != sorted(right_by_place):
        return [f"trades: {len(listed)} listed, right is {len(trades)}"]
    if [at for _, at in shown_places] != sorted(at for _, at in shown_places):
        found.append("trades: not in order of their closing")
    for row in listed:
        trade = right_by_place[row["symbol"], row["closed_at_ms"]]
        right: dict[str, Any] = {
            "strategy": plans.strategy(trade),
            "side": trade.side,
            "opened_at_ms": trade.opened_at_ms,
            "quantity": trade.added,
            "contract_size": trade.contract_size,
            "entry_price": trade.entry_price,
            "exit_price": trade.exit_price,
            "planned_stop": plans.planned_stop(trade),
            "fees": trade.fees,
            "funding": trade.funding,
            "slippage": trade.slippage,
            "stop_price": plans.planned_stop(trade),
            "exit_reason": plans.ended_by(trade),
            "flattened_for": plans.flattened_for(trade),
            "worst_case_r": plans.worst_case_r(trade),
            "pnl_gross": trade.net + trade.fees - trade.funding,
            "pnl_net": trade.net,
            "r_multiple": plans.r(trade),
        }
        for name, value in right.items():
            if not _equal(row[name], value):
                found.append(f"{row['trade_id']} {name}: {row[name]}, right is {value}")
    return found


def fill_differences(documents: Sequence[dict[str, Any]], ledger: Ledger) -> list[str]:
    """Return the differences of fills on the trades' pages from the venue's file."""
    found: list[str] = []
    names = ("side", "price", "quantity", "fee")
    slipped = {
        (fill["symbol"], fill["at_ms"], fill["client_order_id"]): ledger.slippage(fill)
        for fill in ledger.fills
    }
    for document in documents:
        trade = document["trade"]
        right = sorted(
            (fill["at_ms"], *(_plain(fill[name]) for name in names))
            for fill in ledger.fills
            if fill["symbol"] == trade["symbol"]
            and trade["opened_at_ms"] <= fill["at_ms"] <= trade["closed_at_ms"]
        )
        shown = sorted(
            (fill["at_ms"], *(_plain(fill[name]) for name in names)) for fill in document["fills"]
        )
        for fill in document["fills"]:
            place = (fill["symbol"], fill["at_ms"], fill["client_order_id"])
            if slipped[place] != D(fill["slippage"]):
                found.append(f"slippage of {place}: {fill['slippage']}, right is {slipped[place]}")
        if shown != right or document["fills_total"] != len(right):
            found.append(f"fills of {trade['trade_id']}: {shown}, right is {right}")
    return found


def _plain(value: str) -> str | Decimal:
    return value if value in ("buy", "sell") else D(value)


def interval_differences(document: dict[str, Any], listed: Sequence[dict[str, Any]]) -> list[str]:
    """Return the differences of trade intervals from those of the listed trades."""
    days = [row["day"] for row in document["days"] if row["complete"]]
    trades = [
        {
            "day": datetime.fromtimestamp(row["closed_at_ms"] / 1000, UTC).date().isoformat(),
            "strategy": row["strategy"],
            "r": row["r_multiple"],
            "net": float(row["pnl_net"]),
        }
        for row in listed
    ]
    right = bounds_of_trades(days, trades) if days else {}
    found: list[str] = []
    shown = {row["name"]: row["performance"] for row in document["strategies"]}
    for who, figures in {"all": document["performance"], **shown}.items():
        for name in INTERVALS:
            if figures[name]["value"] is None:
                continue
            low, high = right[who][name]
            counted = right[who]["with_r" if name == "expectancy_r" else "n"]
            pairs = [
                (figures[name]["low"], low),
                (figures[name]["high"], None if math.isinf(high) else high),
                (figures[name]["interval"]["n"], counted),
                (figures[name]["interval"]["days"], len(days)),
            ]
            found += [f"{who} {name}: {a}, right is {b}" for a, b in pairs if not _equal(a, b)]
    return found


def _equal(shown: Any, right: Any) -> bool:
    if isinstance(right, Decimal) and shown is not None:
        return abs(D(shown) - right) <= abs(right) * D("1e-20")
    if isinstance(right, float) and shown is not None:
        return math.isclose(shown, right, rel_tol=1e-9, abs_tol=1e-9)
    return bool(shown == right)
