"""``TimedPort``: the order executor's exchange port, with a timeout on each call."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import trio

from kamou.core.model import Intent, OrderReport
from kamou.core.risk.verdict import Approved
from kamou.errors import UnknownOutcomeError, UnreachableError
from kamou.exchange.base import Capabilities, ExchangePort
from kamou.exchange.reads import QueriedReads, VenueQuery

T = TypeVar("T")


class TimedPort(QueriedReads):
    """An exchange port that cannot block the order executor for longer than a timeout.

    A read that takes longer than ``timeout_s`` raises ``UnreachableError``. An order or cancel that
    does so raises ``UnknownOutcomeError``, because it may have arrived. Other errors are those of
    the port.
    """

    def __init__(self, port: ExchangePort, timeout_s: float) -> None:
        self._port = port
        self._timeout_s = timeout_s

    @property
    def capabilities(self) -> Capabilities:
        return self._port.capabilities

    async def read(self, query: VenueQuery[T]) -> T:
        with trio.move_on_after(self._timeout_s):
            return await query.ask(self._port)
        raise UnreachableError(
            f"the venue did not answer the order executor's read {query.name} within "
            f"{self._timeout_s:g} s; a later pass reads again"
        )

    async def submit(
        self, approved: Approved, intent: Intent, attached: tuple[Intent, ...]
    ) -> OrderReport:
        return await self._send_order(intent, self._port.submit(approved, intent, attached))

    async def reduce(self, intent: Intent, *, proved: bool) -> OrderReport:
        return await self._send_order(intent, self._port.reduce(intent, proved=proved))

    async def cancel(self, client_order_id: str, symbol: str) -> None:
        await self._send(
            self._port.cancel(client_order_id, symbol),
            what=f"the cancel of {client_order_id} for {symbol}",
            then="the cancel is requested again",
        )

    async def _send_order(self, intent: Intent, request: Awaitable[OrderReport]) -> OrderReport:
        return await self._send(
            request,
            what=f"order {intent.client_order_id} for {intent.symbol}",
            then="its outcome is resolved by query",
        )

    async def _send(self, request: Awaitable[T], *, what: str, then: str) -> T:
        with trio.move_on_after(self._timeout_s):
            return await request
        raise UnknownOutcomeError(
            f"the venue did not answer {what} within {self._timeout_s:g} s; {then}"
        )
