"""``TimedPort``: the order executor's exchange port, with a timeout on each call."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import trio

from kamou.core.model import FillReport, Intent, OrderReport, PositionReport, Quote
from kamou.core.risk.verdict import Approved
from kamou.errors import UnknownOutcomeError, UnreachableError
from kamou.exchange.base import Capabilities, ExchangePort, Series

T = TypeVar("T")


class TimedPort:
    """An exchange port that cannot block the order executor for longer than a timeout.

    A late read raises ``UnreachableError``. A late order or cancel raises ``UnknownOutcomeError``,
    because it may have arrived. Other errors are the port's own.
    """

    def __init__(self, port: ExchangePort, timeout_s: float) -> None:
        self._port = port
        self._timeout_s = timeout_s

    @property
    def capabilities(self) -> Capabilities:
        return self._port.capabilities

    async def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        return await self._read(self._port.quotes(symbols))

    async def funding_rates(self, since_ms: int, until_ms: int) -> Series:
        return await self._read(self._port.funding_rates(since_ms, until_ms))

    async def positions(self) -> tuple[PositionReport, ...]:
        return await self._read(self._port.positions())

    async def open_orders(self) -> tuple[OrderReport, ...]:
        return await self._read(self._port.open_orders())

    async def order(self, client_order_id: str) -> OrderReport | None:
        return await self._read(self._port.order(client_order_id))

    async def fills(self, since_ms: int) -> tuple[FillReport, ...]:
        return await self._read(self._port.fills(since_ms))

    async def submit(
        self, approved: Approved, intent: Intent, attached: tuple[Intent, ...]
    ) -> OrderReport:
        return await self._send(self._port.submit(approved, intent, attached))

    async def reduce(self, intent: Intent, *, proved: bool) -> OrderReport:
        return await self._send(self._port.reduce(intent, proved=proved))

    async def cancel(self, client_order_id: str, symbol: str) -> None:
        await self._send(self._port.cancel(client_order_id, symbol))

    async def _read(self, read: Awaitable[T]) -> T:
        with trio.move_on_after(self._timeout_s):
            return await read
        raise UnreachableError(
            f"the venue did not answer a read of the order executor within {self._timeout_s:g} s; "
            "a later pass reads again"
        )

    async def _send(self, request: Awaitable[T]) -> T:
        with trio.move_on_after(self._timeout_s):
            return await request
        raise UnknownOutcomeError(
            f"the venue did not answer an order or a cancel within {self._timeout_s:g} s; "
            "the outcome is resolved by query"
        )
