"""Streams that last: bursts, gaps of a book, and connections that end."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from ccxt.base import errors
from hypothesis import given
from hypothesis import strategies as st

from kamou.exchange.trio_ccxt.subscriptions import PAUSE_S, PAUSE_S_MAX, keep_subscribed
from kamou.exchange.trio_ccxt.tap import MissedUpdates, Tap, TapChannel, TapPolicy
from tests.exchange.trio_ccxt.kucoin_server import Connection, Request, success, ticker
from tests.exchange.trio_ccxt.test_kucoin_futures import BITCOIN, TOPIC, connected

TRADES = "/contractMarket/execution:XBTUSDTM"
BOOK = "/contractMarket/level2:XBTUSDTM"
BURST = 1_000


def market_trade(number: int) -> dict[str, Any]:
    return {
        "symbol": "XBTUSDTM",
        "sequence": number,
        "side": "buy",
        "size": 1,
        "price": "50000",
        "takerOrderId": "1",
        "makerOrderId": "2",
        "tradeId": str(number),
        "ts": 1_700_000_000_000_000_000 + number,
    }


async def test_every_trade_of_a_burst_is_kept_and_tickers_are_conflated_and_counted() -> None:
    tap = Tap()
    trades = tap.open_channel("trades", TapPolicy.EVERY, BURST)
    tickers = tap.open_channel("ticker", TapPolicy.NEWEST, 10)
    async with connected(tap=tap) as (server, exchange), trio.open_nursery() as nursery:
        await exchange.load_markets()
        nursery.start_soon(exchange.watch_trades, BITCOIN)
        nursery.start_soon(exchange.watch_ticker, BITCOIN)
        connection = await server.wait_for_topic(TRADES)
        await server.wait_for_topic(TOPIC)
        for number in range(BURST):
            await connection.push(TRADES, "match", market_trade(number))
            if number % 10 == 9:
                await connection.push(TOPIC, "ticker", ticker(number, bid=str(number + 1)))
        ids = [(await trades.take())[1]["id"] for _ in range(BURST)]  # type: ignore[index]  # a dict
        assert ids == [str(number) for number in range(BURST)]
        taken = 0
        await connection.stream.aclose()
        assert await trades.take() == ("", MissedUpdates(0))  # more may have happened since
        newest: Any = {"bid": 0}
        while newest["bid"] < BURST:
            message_hash, newest = await tickers.take()
            assert message_hash == f"ticker:{BITCOIN}"
            taken += 1
        assert taken + tickers.conflated == BURST // 10
        assert tickers.missed == trades.missed == 0
        nursery.cancel_scope.cancel()


@given(st.integers(1, 4), st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=40))
def test_a_channel_that_keeps_all_marks_each_place_where_updates_are_missing(
    capacity: int, steps: list[int | None]
) -> None:
    """A step is an update, or None to take one; every update is read or counted, in order."""
    put: list[int] = []
    read: list[int] = []  # the numbers of updates; -count where some are missing

    async def main() -> None:
        channel = TapChannel("orders", TapPolicy.EVERY, capacity)

        for step in [*steps, *[None] * (capacity + 1)]:
            if step is not None:
                put.append(len(put))
                channel.put("orders", put[-1])
            elif sum(read_count(each) for each in read) < len(put):
                _, update = await channel.take()
                read.append(
                    -update.count if isinstance(update, MissedUpdates) else int(str(update))
                )
        assert channel.missed == -sum(each for each in read if each < 0)

    trio.run(main)
    expected = 0
    for each in read:
        if each >= 0:
            assert each == expected
        expected += read_count(each)
    assert expected == len(put)


def read_count(entry: int) -> int:
    return -entry if entry < 0 else 1


async def test_the_newest_of_each_hash_is_kept_and_a_hash_too_many_is_counted() -> None:
    tap = Tap()
    channel = tap.open_channel("orderbook", TapPolicy.NEWEST, 2)
    for name, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        tap.take_update(f"orderbook:{name}", value)
    tap.take_update("orderbooks:a", 5)
    assert [await channel.take(), await channel.take()] == [("orderbook:a", 3), ("orderbook:b", 2)]
    assert (channel.conflated, channel.missed) == (1, 1)
    with trio.move_on_after(0) as scope:
        await channel.take()
    assert scope.cancelled_caught


def snapshot(sequence: int, bid: str) -> Any:
    return success(
        {
            "symbol": "XBTUSDTM",
            "sequence": sequence,
            "asks": [["50001.0", 5]],
            "bids": [[bid, 7]],
            "ts": 1_700_000_000_000_000_000,
        }
    )


async def push_increment(connection: Connection, sequence: int, change: str) -> None:
    data = {"sequence": sequence, "change": change, "timestamp": 1_700_000_000_000 + sequence}
    await connection.push(BOOK, "level2", data)


async def next_book(channel: TapChannel) -> tuple[int, list[float]]:
    _, book = await channel.take()
    assert isinstance(book, dict)
    return book["nonce"], [price for price, _ in book["bids"]]


async def test_a_gap_in_a_book_is_noticed_and_the_book_is_loaded_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    tap = Tap()
    books = tap.open_channel("orderbook", TapPolicy.NEWEST, 10)
    async with connected(tap=tap) as (server, exchange), trio.open_nursery() as nursery:
        await exchange.load_markets()
        snapshots = iter([snapshot(90, "1.0"), snapshot(101, "40000.0"), snapshot(121, "41000.0")])

        def answer(_: Request) -> Any:
            return next(snapshots)  # the first is older than the first increment

        server.rules["GET", "/api/v1/level2/snapshot"] = answer
        nursery.start_soon(exchange.watch_order_book, BITCOIN)
        connection = await server.wait_for_topic(BOOK)
        await push_increment(connection, 100, "39000.0,buy,1")
        await push_increment(connection, 101, "39001.0,buy,1")
        await push_increment(connection, 102, "39002.0,buy,1")
        assert await next_book(books) == (102, [40_000.0, 39_002.0])
        await push_increment(connection, 102, "1.0,buy,1")  # again
        await push_increment(connection, 101, "2.0,buy,1")  # too late
        await push_increment(connection, 103, "39003.0,buy,1")
        assert await next_book(books) == (103, [40_000.0, 39_003.0, 39_002.0])
        assert exchange.book_gaps == 0
        await push_increment(connection, 121, "39004.0,buy,1")
        assert await next_book(books) == (121, [41_000.0])
        assert exchange.book_gaps == 1
        await push_increment(connection, 122, "39005.0,buy,1")
        assert await next_book(books) == (122, [41_000.0, 39_005.0])
        nursery.cancel_scope.cancel()


async def test_an_increment_without_a_sequence_ends_the_connection() -> None:
    async with connected() as (server, exchange), trio.open_nursery() as nursery:
        await exchange.load_markets()

        async def watch() -> None:
            with pytest.raises(errors.NetworkError, match="no sequence"):
                await exchange.watch_order_book(BITCOIN)

        nursery.start_soon(watch)
        connection = await server.wait_for_topic(BOOK)
        await connection.push(BOOK, "level2", {"change": "1.0,buy,1"})


async def test_a_subscription_is_made_again_with_a_new_token_after_each_loss(
    autojump_clock: trio.testing.MockClock,
) -> None:
    tap = Tap()
    tickers = tap.open_channel("ticker", TapPolicy.NEWEST, 10)
    async with connected(tap=tap) as (server, exchange), trio.open_nursery() as nursery:
        await exchange.load_markets()
        nursery.start_soon(keep_subscribed, exchange, partial(exchange.watch_ticker, BITCOIN))
        for number in range(4):
            connection = await server.wait_for_topic(TOPIC, connection=number)
            if number != 1:  # the second connection ends before its first update
                await connection.push(TOPIC, "ticker", ticker(number, bid=str(number + 1)))
                update: Any = (await tickers.take())[1]
                assert update["bid"] == number + 1
            await connection.stream.aclose()
        nursery.cancel_scope.cancel()
    assert [each.token for each in server.connections] == [f"token+{n}==" for n in range(4)]


class FailingExchange:
    """Counts the calls of ``watch``, each of which fails or lasts as told."""

    def __init__(self, results: list[float | Exception]) -> None:
        self.connection_ended = trio.Event()
        self.called_at: list[float] = []
        self._results = results

    async def watch(self) -> None:
        self.called_at.append(trio.current_time())
        result = self._results[len(self.called_at) - 1]
        if isinstance(result, Exception):
            raise result
        await trio.sleep(result)
        self.connection_ended.set()
        self.connection_ended = trio.Event()


async def test_pauses_double_to_their_maximum_and_begin_again_after_a_steady_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    lost = errors.ExchangeNotAvailable("down")
    results: list[float | Exception] = [lost] * 9
    exchange = FailingExchange([*results, 100.0, lost, errors.BadSymbol("no such symbol")])
    with pytest.raises(errors.BadSymbol):
        await keep_subscribed(exchange, exchange.watch)
    steps = [
        later - earlier
        for earlier, later in zip(exchange.called_at, exchange.called_at[1:], strict=False)
    ]
    doubled = [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert steps == pytest.approx([*doubled, 100 + 0.5, 0.5])
    assert (PAUSE_S, PAUSE_S_MAX) == (0.5, 30)
