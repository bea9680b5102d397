"""Looks at a system, made up: what ``kamou status`` shows when it has seen them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

NOW_MS = 1_700_050_000_000  # 2023-11-15T12:06:40Z


def position(**changes: Any) -> dict[str, Any]:
    """10 units long at 100, marked at 103, stop at 97, for 2 h 14 min."""
    made = {
        "symbol": "SOLUSDT",
        "side": "long",
        "strategy": "mean_reversion",
        "quantity": "100",
        "quantity_base": "10",
        "entry_price": "100.0000000000000000000000333",
        "mark_price": "103",
        "mark_at_ms": NOW_MS - 5_000,
        "stop_price": "97",
        "stop_quantity": "100",
        "stop_status": "accepted",
        "stop_confirmed": True,
        "stop_distance": "0.05825242718446601941747572816",
        "unprotected_since_ms": None,
        "target_price": "109",
        "unrealized_pnl": "30",
        "net_pnl": "29.5",
        "r": "0.983333333333",
        "opened_ms": NOW_MS - (2 * 60 + 14) * 60_000,
    }
    return made | changes


def pending(**changes: Any) -> dict[str, Any]:
    made = {
        "symbol": "ETHUSDT",
        "side": "buy",
        "strategy": "oi_momentum",
        "type": "limit",
        "quantity": "5",
        "filled": "0",
        "limit_price": "2000.5",
        "status": "accepted",
        "intended_ms": NOW_MS - 12_000,
    }
    return made | changes


def book(**changes: Any) -> dict[str, Any]:
    made = {
        "as_of_ms": NOW_MS,
        "mode": "demo",
        "currency": "USDT",
        "state": "normal",
        "state_reason": None,
        "state_note": None,
        "state_since_ms": None,
        "disabled_strategies": [],
        "equity": "10030.00",
        "wallet_balance": "10000",
        "unrealized_pnl": "30",
        "equity_at_ms": NOW_MS - 60_000,
        "cycle_ms": NOW_MS - 90_000,
        "day": {
            "day": "2023-11-15",
            "result": 0.003,
            "loss": 0.0107,
            "exit_costs": 0.0007,
            "loss_unknown": None,
            "loss_limit": 0.04,
            "loss_budget_left": 0.0293,
        },
        "positions": [position()],
        "pending_entries": [],
        "resting_orders": 2,
    }
    return made | changes


def child(name: str, **changes: Any) -> dict[str, Any]:
    box = {"name": name, "depth": 1, "peak": 7, "dropped": 0, "expired": 2}
    made = {"id": name, "state": "running", "incarnation": 1, "restarts": 0, "last_error": None}
    return {**made, "mailboxes": [box], **changes}


def system(*children: dict[str, Any], **changes: Any) -> dict[str, Any]:
    made = {
        "phase": "trading",
        "state": "normal",
        "not_ready": [],
        "degraded": [],
        "gauges": {"loop_lag_max_seconds": 0.0205},
        "site": {"state": "serving", "restarts": 0, "last_trouble": ""},
        "supervision": {"id": "run", "state": "trading", "children": list(children)},
    }
    return made | changes


def seen(**changes: Any) -> dict[str, Any]:
    """A look at a running system that holds one position."""
    made = {
        "at_ms": NOW_MS,
        "running": True,
        "why_not": None,
        "gone": False,
        "notice": None,
        "run": {"pid": 4242, "started_ms": NOW_MS - 3_600_000, "port": 8080, "mode": "demo"},
        "system": system(child("journal"), child("veto")),
        "book": book(),
    }
    return made | changes


# --- anything at all -------------------------------------------------------------

words = st.text(max_size=80)
times = st.integers(0, 2 * NOW_MS)
amounts = st.one_of(
    st.decimals("-1e30", "1e30", allow_nan=False, allow_infinity=False),
    st.decimals("-1000000", "1000000", places=2),
    st.decimals("1e-20", "1e-6"),
).map(lambda value: f"{value:f}")
prices = amounts.map(lambda text: text.lstrip("-")).filter(lambda text: Decimal(text) > 0)


def maybe(some: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | some


any_position = st.builds(
    position,
    symbol=words,
    side=st.sampled_from(["long", "short"]),
    strategy=words,
    quantity=prices,
    quantity_base=prices,
    entry_price=prices,
    mark_price=maybe(prices),
    mark_at_ms=maybe(times),
    stop_price=maybe(prices),
    stop_quantity=maybe(prices),
    stop_status=maybe(words),
    stop_confirmed=st.booleans(),
    stop_distance=maybe(amounts),
    unprotected_since_ms=maybe(times),
    unrealized_pnl=maybe(amounts),
    r=maybe(amounts),
    opened_ms=times,
)
any_pending = st.builds(
    pending,
    symbol=words,
    strategy=words,
    quantity=prices,
    filled=prices,
    limit_price=maybe(prices),
    status=words,
    intended_ms=times,
)
any_book = st.builds(
    book,
    as_of_ms=times,
    currency=words,
    state=st.sampled_from(["normal", "reduced", "halt_new", "flatten", "killed"]),
    state_reason=maybe(words | st.sampled_from(["HUMAN_HALT", "DAY_LOSS_LIMIT"])),
    state_note=maybe(words),
    state_since_ms=maybe(times),
    disabled_strategies=st.lists(words, max_size=3),
    equity=maybe(amounts),
    wallet_balance=maybe(amounts),
    unrealized_pnl=maybe(amounts),
    day=maybe(st.just(book()["day"])),
    positions=st.lists(any_position, max_size=30),
    pending_entries=st.lists(any_pending, max_size=5),
)
any_child = st.builds(
    child,
    words,
    state=st.sampled_from(["running", "backing-off"]),
    restarts=st.integers(0, 2000),
    last_error=maybe(words),
)
any_system = st.builds(
    lambda children, **changes: system(*children, **changes),
    st.lists(any_child, max_size=25),
    phase=st.sampled_from(["starting", "fast-forward", "trading", "replayed", "stopping"]),
    not_ready=st.lists(words, max_size=6),
    degraded=st.lists(words, max_size=2),
    site=maybe(st.just({"state": "down", "restarts": 3, "last_trouble": "boom"})),
)
any_look = st.builds(
    seen,
    running=st.booleans(),
    notice=maybe(words),
    system=maybe(any_system),
    book=maybe(any_book),
)
