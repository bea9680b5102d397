"""Example and random status documents, as ``kamou status`` shows them."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import strategies as st

NOW_MS = 1_700_050_000_000  # 2023-11-15T12:06:40Z


def make_position(**changes: Any) -> dict[str, Any]:
    """Return a long position: 10 units, entry 100, mark 103, stop 97, for 2 h 14 min."""
    defaults = {
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
        "opened_at_ms": NOW_MS - (2 * 60 + 14) * 60_000,
    }
    return defaults | changes


def make_pending_entry(**changes: Any) -> dict[str, Any]:
    defaults = {
        "symbol": "ETHUSDT",
        "side": "buy",
        "strategy": "oi_momentum",
        "type": "limit",
        "quantity": "5",
        "filled": "0",
        "limit_price": "2000.5",
        "status": "accepted",
        "intended_at_ms": NOW_MS - 12_000,
    }
    return defaults | changes


def make_book(**changes: Any) -> dict[str, Any]:
    defaults = {
        "as_of_ms": NOW_MS,
        "mode": "demo",
        "currency": "USDT",
        "state": "active",
        "state_reason": None,
        "state_note": None,
        "state_since_ms": None,
        "disabled_strategies": [],
        "equity": "10030.00",
        "wallet_balance": "10000",
        "unrealized_pnl": "30",
        "equity_at_ms": NOW_MS - 60_000,
        "cycle_at_ms": NOW_MS - 90_000,
        "day": {
            "day": "2023-11-15",
            "result": 0.003,
            "loss": 0.0107,
            "exit_costs": 0.0007,
            "loss_unknown": None,
            "loss_limit": 0.04,
            "loss_budget_left": 0.0293,
        },
        "positions": [make_position()],
        "pending_entries": [],
        "resting_orders": 2,
    }
    return defaults | changes


def make_child(name: str, **changes: Any) -> dict[str, Any]:
    box = {"name": name, "depth": 1, "peak": 7, "dropped": 0, "expired": 2}
    defaults = {"id": name, "state": "running", "incarnation": 1, "restarts": 0, "last_error": None}
    return {**defaults, "mailboxes": [box], **changes}


def make_system(*children: dict[str, Any], **changes: Any) -> dict[str, Any]:
    defaults = {
        "phase": "trading",
        "state": "active",
        "not_ready": [],
        "degraded": [],
        "gauges": {"loop_lag_max_seconds": 0.0205},
        "site": {"state": "serving", "restarts": 0, "last_trouble": ""},
        "supervision": {"id": "run", "state": "trading", "children": list(children)},
    }
    return defaults | changes


def make_order_flow(**changes: Any) -> dict[str, Any]:
    """Return what a run of two shards shows of its gatherers, of which one lost its stream."""
    defaults = {
        "window_ms": NOW_MS - 100_000,
        "known": 58,
        "symbols": 60,
        "windows": 12,
        "streams": 1,
        "shards": 2,
        "breaks": 3,
    }
    return defaults | changes


def make_status(**changes: Any) -> dict[str, Any]:
    """Return the status of a run with one open position."""
    defaults = {
        "at_ms": NOW_MS,
        "running": True,
        "why_not": None,
        "gone": False,
        "notice": None,
        "run": {"pid": 4242, "started_at_ms": NOW_MS - 3_600_000, "port": 8080, "mode": "demo"},
        "system": make_system(make_child("journal"), make_child("veto")),
        "book": make_book(),
    }
    return defaults | changes


# --- random documents -------------------------------------------------------------

CHARACTERS = "abcXYZ019 ._-\\/'\"[]{}%=:;,!\n\t\x1b\u202e\u0301\u00e9\u6f22\u5b57\U0001f4a9"


class RandomStatus:
    """Drawer of random status documents, in which any part may be missing."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def maybe(self, value: Any) -> Any:
        return value if self.random.random() < 0.7 else None

    def words(self) -> str:
        length = self.random.choice((0, 3, 10, 30, 90))
        return "".join(self.random.choices(CHARACTERS, k=length))

    def price(self) -> str:
        exponent = self.random.choice((-20, -10, -6, -2, 0, 3, 8, 20))
        return f"{Decimal(self.random.randint(1, 10**6)).scaleb(exponent - 3):f}"

    def amount(self) -> str:
        return self.random.choice(("", "-")) + self.price()

    def time(self) -> int:
        return self.random.choice((0, NOW_MS, self.random.randint(0, 2 * NOW_MS)))

    def some(self, most: int, draw: Callable[[], Any]) -> list[Any]:
        return [draw() for _ in range(self.random.choice((0, 1, 2, 5, most)))]

    def draw_position(self) -> dict[str, Any]:
        return make_position(
            symbol=self.random.choice(("BTCUSDT", self.words())),
            side=self.random.choice(("long", "short")),
            strategy=self.words(),
            quantity=self.price(),
            quantity_base=self.price(),
            entry_price=self.price(),
            mark_price=self.maybe(self.price()),
            mark_at_ms=self.maybe(self.time()),
            stop_price=self.maybe(self.price()),
            stop_quantity=self.maybe(self.price()),
            stop_status=self.maybe(self.words()),
            stop_confirmed=self.random.random() < 0.7,
            stop_distance=self.maybe(self.amount()),
            unprotected_since_ms=self.maybe(self.time()),
            unrealized_pnl=self.maybe(self.amount()),
            r=self.maybe(self.amount()),
            opened_at_ms=self.time(),
        )

    def draw_pending_entry(self) -> dict[str, Any]:
        return make_pending_entry(
            symbol=self.words(),
            strategy=self.words(),
            quantity=self.price(),
            filled=self.price(),
            limit_price=self.maybe(self.price()),
            status=self.words(),
        )

    def draw_book(self) -> dict[str, Any]:
        return make_book(
            as_of_ms=self.time(),
            currency=self.random.choice(("USDT", self.words())),
            state=self.random.choice(("active", "reduced_size", "reduce_only", "flattening")),
            state_reason=self.maybe(self.random.choice(("OPERATOR_HALT", self.words()))),
            state_note=self.maybe(self.words()),
            state_since_ms=self.maybe(self.time()),
            disabled_strategies=self.some(3, self.words),
            equity=self.maybe(self.amount()),
            wallet_balance=self.maybe(self.amount()),
            unrealized_pnl=self.maybe(self.amount()),
            day=self.maybe(make_book()["day"]),
            positions=self.some(40, self.draw_position),
            pending_entries=self.some(9, self.draw_pending_entry),
        )

    def draw_child(self) -> dict[str, Any]:
        return make_child(
            self.words(),
            state=self.random.choice(("running", "backing-off")),
            restarts=self.random.choice((0, 1, 2000)),
            last_error=self.maybe(self.words()),
        )

    def draw_system(self) -> dict[str, Any]:
        down = {"state": "down", "restarts": 3, "last_trouble": self.words()}
        return make_system(
            *self.some(25, self.draw_child),
            phase=self.random.choice(("starting", "fast-forward", "trading", "replayed")),
            not_ready=self.some(6, self.words),
            degraded=self.some(2, self.words),
            site=self.maybe(down),
            order_flow=self.maybe(make_order_flow(window_ms=self.maybe(self.time()))),
        )

    def draw(self) -> dict[str, Any]:
        return make_status(
            running=self.random.random() < 0.7,
            notice=self.maybe(self.words()),
            system=self.maybe(self.draw_system()),
            book=self.maybe(self.draw_book()),
        )


status_seeds = st.integers(0, 2**32 - 1)
