"""KuCoin Futures through ccxt on Trio, for a classic account."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import cache
from typing import Protocol, cast

from ccxt.base.errors import BadResponse

from kamou.clock import Clock
from kamou.exchange.trio_ccxt.client import TrioClient
from kamou.exchange.trio_ccxt.exchange import TrioExchange
from kamou.exchange.trio_ccxt.gathering import rebind_asyncio
from kamou.exchange.trio_ccxt.kucoin_limits import make_pools, measure_demand
from kamou.exchange.trio_ccxt.packages import load_exchange_class
from kamou.exchange.trio_ccxt.rate_limits import QuotaPool
from kamou.exchange.trio_ccxt.tap import Tap
from kamou.exchange.trio_ccxt.wire import Endpoints, Wire, open_wire

NAME = "kucoinfutures"
INCREMENTS = "/contractMarket/level2:"
# The pool of the request that the present task sends, for the headers of its response.
_POOL: ContextVar[QuotaPool | None] = ContextVar("_POOL", default=None)


class KucoinFutures(Protocol):
    """What Kamou uses of ccxt's exchange; ccxt documents the parameters."""

    id: str
    markets: Mapping[str, Mapping[str, object]]

    async def load_markets(self) -> object: ...

    async def watch_ticker(self, symbol: str) -> Mapping[str, object]: ...


class KucoinFuturesOnTrio(TrioExchange):
    """A mixin for what is particular to KuCoin Futures.

    Only a classic account is supported: with ``uta`` and ``hf`` unset, ccxt would ask for the
    account's mode before private calls, on endpoints that a key for futures only may not use.
    """

    def __init__(self, wire: Wire, config: Mapping[str, object]) -> None:
        """Make the exchange; ccxt's partner headers are cleared."""
        super().__init__(wire, config)
        self._pools = make_pools(wire.clock)
        self.book_gaps = 0
        # The snapshot is asked for at the first increment; ccxt waits for six.
        self.options["watchOrderBook"]["snapshotDelay"] = 0
        self.options["uta"] = False
        self.options["hf"] = False
        self.options["partner"] = {}
        # Currencies come with the contracts; ccxt would ask the spot host for them.
        self.has["fetchCurrencies"] = False

    async def load_markets(
        self,
        reload: bool = False,  # noqa: FBT001, FBT002 - as ccxt calls it
        params: Mapping[str, object] | None = None,
    ) -> object:
        """Load the contracts only: the list of marginable spot pairs is not asked for."""
        return await super().load_markets(reload, {"marginables": False, **(params or {})})

    async def request(
        self,
        path: str,
        api: Sequence[str] = ("public",),
        method: str = "GET",
        params: Mapping[str, object] | None = None,
        config: Mapping[str, float] | None = None,
    ) -> object:
        """Wait for the quota of the request's pool, then sign and send the request.

        Raises:
            RateLimitedError: too many requests wait already; nothing was sent.
        """
        values = params or {}
        cost = (config or {}).get("cost", 1)
        # Some requests of ccxt have a list of orders as parameters.
        named = values if isinstance(values, Mapping) else {}
        demand = measure_demand(api[0], method, path, named, cost)
        pool = self._pools[demand.pool]
        await pool.acquire(demand.weight, urgent=demand.urgent)
        token = _POOL.set(pool)
        try:
            return await super().request(path, api, method, values, config or {})
        finally:
            _POOL.reset(token)

    def handle_order_book(self, client: TrioClient, message: Mapping[str, object]) -> None:
        """Check the sequence of a book's increment, then let ccxt apply or keep it.

        ccxt checks none for futures. An increment that came before is dropped. After a gap the book
        is loaded again, and nobody gets an update of it until then.

        Raises:
            BadResponse: the increment has no sequence.
        """
        topic = str(message.get("topic"))
        data = message.get("data")
        if topic.startswith(INCREMENTS):
            sequence = self.safe_integer(data, "sequence")
            if sequence is None:
                raise BadResponse("an increment of a book has no sequence")
            book = self.orderbooks.get(self.safe_symbol(topic.removeprefix(INCREMENTS), None, "-"))
            last = None if book is None else _find_last_sequence(book)
            if book is not None and last is not None:
                if sequence <= last:
                    return
                if sequence > last + 1:
                    self.book_gaps += 1
                    book["nonce"] = None
                    book.cache.clear()
        super().handle_order_book(client, message)

    def handle_errors(self, *response: object) -> object:
        """Show the request's pool the headers, then raise ccxt's errors.

        The arguments are ccxt's: status, reason, URL, method, headers, and five more.
        """
        pool = _POOL.get()
        if pool is not None:
            status, headers = response[0], response[4]
            assert isinstance(status, int)
            assert isinstance(headers, dict)
            pool.note_response(status, headers)
        return super().handle_errors(*response)


def _find_last_sequence(book: MutableMapping[str, object]) -> int | None:
    """Return the sequence of a book, or of its newest waiting increment."""
    nonce = book["nonce"]
    if isinstance(nonce, int):
        return nonce
    waiting = vars(book)["cache"]
    return int(waiting[-1]["sequence"]) if waiting else None


@cache
def _make_class() -> type[KucoinFuturesOnTrio]:
    """Return the class that joins the mixin and ccxt's exchange."""
    exchange_class = load_exchange_class(NAME)
    rebind_asyncio(exchange_class)
    made = type("KucoinFuturesOfCcxt", (KucoinFuturesOnTrio, exchange_class), {})
    return cast(type[KucoinFuturesOnTrio], made)


@asynccontextmanager
async def open_kucoin_futures(
    clock: Clock,
    endpoints: Endpoints,
    config: Mapping[str, object] | None = None,
    tap: Tap | None = None,
) -> AsyncIterator[KucoinFutures]:
    """Open the exchange on a wire of its own.

    Args:
        clock: what signatures, nonces and time stamps follow.
        endpoints: addresses instead of KuCoin's.
        config: ccxt's configuration, such as ``apiKey``, ``secret`` and ``password``.
        tap: gets every update.

    Raises:
        ConfigurationError: an address of the endpoints may not be dialed.
    """
    async with open_wire(clock, endpoints, tap or Tap()) as wire:
        exchange = _make_class()(wire, config or {})
        yield cast(KucoinFutures, exchange)
        await exchange.close()
