"""Promises and gathering: what ccxt takes for asyncio's futures and ``gather``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest
import trio
import trio.testing

from kamou.exchange.trio_ccxt.gathering import GatherFacade, gather
from kamou.exchange.trio_ccxt.promise import Promise, race


async def test_every_waiting_task_gets_the_value_and_a_canceled_one_harms_none() -> None:
    promise = Promise()
    got: list[object] = []

    async def wait() -> None:
        got.append(await promise)

    async with trio.open_nursery() as nursery:
        impatient = trio.CancelScope()

        async def give_up() -> None:
            with impatient:
                await promise

        nursery.start_soon(wait)
        nursery.start_soon(give_up)
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        impatient.cancel()
        await trio.testing.wait_all_tasks_blocked()
        promise.resolve("value")
        promise.resolve("later")
        promise.reject(ValueError("later still"))
    assert got == ["value", "value"]
    assert await promise == "value"
    assert impatient.cancelled_caught


async def test_a_rejected_promise_raises_its_error_in_each_task() -> None:
    promise = Promise()
    promise.reject(ValueError("no"))
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            await promise


async def test_a_race_settles_once_as_its_first_promise_and_forgets_the_others() -> None:
    promises = [Promise() for _ in range(3)]
    first = race(promises)
    assert not first.done()
    promises[1].resolve("second")
    promises[0].reject(ValueError("late"))
    assert await first == "second"
    failed = race([promises[0], promises[2]])
    with pytest.raises(ValueError, match="late"):
        await failed
    seen: list[Promise] = []
    promises[2].call_when_settled(seen.append)
    promises[2].resolve()
    assert seen == [promises[2]]


async def test_gathering_keeps_the_order_and_runs_all_at_the_same_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def wait(seconds: float) -> float:
        await trio.sleep(seconds)
        return seconds

    before = trio.current_time()
    assert await gather(wait(3), wait(1), wait(2)) == [3, 1, 2]
    assert trio.current_time() - before == 3


async def test_the_first_error_of_a_gathering_is_raised_alone_and_cancels_the_rest(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def fail() -> None:
        await trio.sleep(1)
        raise KeyError("first")

    async def wait() -> None:
        await trio.sleep(100)

    with pytest.raises(KeyError, match="first"):
        await gather(fail(), wait())
    assert trio.current_time() < 100


async def test_under_trio_the_facade_gathers_and_offers_nothing_else_of_asyncio() -> None:
    async def give() -> int:
        await trio.lowlevel.checkpoint()
        return 4

    facade = GatherFacade(asyncio)
    assert await facade.gather(give(), give()) == [4, 4]
    with pytest.raises(AssertionError, match=r"asyncio\.sleep under Trio"):
        facade.sleep  # noqa: B018 - the access is what fails


def test_outside_of_trio_the_facade_is_asyncio() -> None:
    facade = GatherFacade(asyncio)

    async def give(value: int) -> int:
        await asyncio.sleep(0)
        return value

    async def main() -> list[object]:
        found: Awaitable[list[object]] = facade.gather(give(1), give(2))
        return await found

    assert facade.Future is asyncio.Future
    assert asyncio.run(main()) == [1, 2]
