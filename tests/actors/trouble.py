"""The embedded venue with faults: lost orders, answers and reads, hidden orders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import trio

from kamou.core.market.bars import Bars, Series
from kamou.core.model import (
    Account,
    Intent,
    OrderReport,
    OrderRole,
    OrderType,
    PositionReport,
    Quote,
)
from kamou.errors import (
    RateLimitedError,
    RejectedError,
    UnknownOutcomeError,
    UnreachableError,
)
from kamou.exchange.embedded import SimulatedExchange

LOST = "lost"  # the request never arrives, and no answer comes
UNANSWERED = "unanswered"  # it arrives and acts; the answer is lost
REJECTED = "rejected"
LIMITED = "limited"
UNREACHABLE = "unreachable"  # the connection fails: the outcome is unknown, as after a lost answer

Fate = Callable[[Intent], str]


def every(role: OrderRole, fate: str, symbol: str = "") -> Fate:
    """Return a function with ``fate`` for orders of a role, of one symbol or of all."""
    return lambda intent: fate if intent.role is role and symbol in ("", intent.symbol) else ""


@attrs.define
class Trouble:
    """The present faults of the venue. A test changes them during a run."""

    fate: Fate = lambda intent: ""
    cancel: str = ""  # not empty: no cancel reaches the venue
    away: frozenset[str] = frozenset()  # reads that fail, or ("*",) for all of them
    limited: frozenset[str] = frozenset()  # the same, by the venue's rate limit
    hidden: Callable[[OrderReport], bool] = lambda order: False  # from the open orders
    sent: list[Intent] = attrs.Factory(list)  # every order that was sent to the venue
    cancels: list[str] = attrs.Factory(list)

    def read(self, name: str) -> None:
        if self.away & {name, "*"}:
            raise UnreachableError(f"{name}: connection reset")
        if self.limited & {name, "*"}:
            raise RateLimitedError(f"{name}: 429")


ALL = frozenset({"*"})


def stops_of(symbol: str) -> Callable[[OrderReport], bool]:
    return lambda order: order.symbol == symbol and order.type is OrderType.STOP_MARKET


class TroubledExchange(SimulatedExchange):
    def __init__(self, *args: Any, trouble: Trouble, **more: Any) -> None:
        super().__init__(*args, **more)
        self.trouble = trouble

    async def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        self.trouble.read("bars")
        return await super().bars(period_ms, since_ms, until_ms)

    async def open_interest(self, since_ms: int, until_ms: int) -> Series:
        self.trouble.read("open_interest")
        return await super().open_interest(since_ms, until_ms)

    async def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        self.trouble.read("quotes")
        return await super().quotes(symbols)

    async def account(self) -> Account:
        self.trouble.read("account")
        return await super().account()

    async def positions(self) -> tuple[PositionReport, ...]:
        self.trouble.read("positions")
        return await super().positions()

    async def open_orders(self) -> tuple[OrderReport, ...]:
        self.trouble.read("open_orders")
        resting = await super().open_orders()
        return tuple(order for order in resting if not self.trouble.hidden(order))

    async def order(self, client_order_id: str) -> OrderReport | None:
        self.trouble.read("order")
        return await super().order(client_order_id)

    async def _place(self, intent: Intent, attached: tuple[Intent, ...]) -> OrderReport:
        self.trouble.sent.append(intent)
        match self.trouble.fate(intent):
            case "lost":
                await trio.sleep(1.0)
                raise UnknownOutcomeError("timed out")
            case "unanswered":
                await super()._place(intent, attached)
                await trio.sleep(1.0)
                raise UnknownOutcomeError("timed out")
            case "rejected":
                raise RejectedError("MARGIN_INSUFFICIENT", "not enough margin")
            case "limited":
                raise RateLimitedError("429")
            case "unreachable":
                raise UnreachableError("connection reset")
        return await super()._place(intent, attached)

    async def _cancel(self, client_order_id: str, symbol: str) -> None:
        self.trouble.cancels.append(client_order_id)
        if self.trouble.cancel:
            raise UnreachableError("connection reset")
        await super()._cancel(client_order_id, symbol)
