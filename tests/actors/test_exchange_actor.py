"""The exchange actor forwards the venue's updates in their order, and all that wait at once."""

from __future__ import annotations

from typing import Any

import trio
from trio.testing import MockClock

from kamou.actors.exchange import ExchangeActor
from kamou.clock import SimulatedClock


class PushingPort:
    """A venue whose steps do nothing; the test pushes its updates."""

    def __init__(self) -> None:
        self.push, self._pushed = trio.open_memory_channel[Any](100)

    def events(self) -> trio.MemoryReceiveChannel[Any]:
        return self._pushed.clone()

    async def step(self, to_ms: int) -> bool:
        await trio.lowlevel.checkpoint()
        return False

    async def catch_up(self, to_ms: int) -> None:
        await trio.lowlevel.checkpoint()

    async def prepare(self, at_ms: int) -> None:
        await trio.lowlevel.checkpoint()

    async def stream_flow(self) -> None:
        await trio.lowlevel.checkpoint()


class Noted:
    """The order manager's mailbox; notes each message with the number of the task step."""

    def __init__(self) -> None:
        self.came: list[tuple[int, object]] = []
        self.steps = Steps()

    def put_nowait(self, message: object) -> bool:
        self.came.append((self.steps.count, message))
        return True

    def put_priority(self, message: object) -> bool:
        raise AssertionError(f"updates are ordinary messages: {message}")


class Steps(trio.abc.Instrument):
    count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


async def test_updates_that_wait_are_forwarded_in_their_order_in_one_step(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    port, orders = PushingPort(), Noted()
    trio.lowlevel.add_instrument(orders.steps)
    actor: Any = ExchangeActor(
        port=port,
        clock=SimulatedClock(start_ms=0, origin_s=trio.current_time()),
        step_ms=3_600_000,
        orders=orders,
        reconciler=Noted(),
    )
    await nursery.start(actor.run)
    await trio.testing.wait_all_tasks_blocked()
    for number in range(5):
        port.push.send_nowait(number)
    await trio.testing.wait_all_tasks_blocked()
    port.push.send_nowait(5)
    await trio.testing.wait_all_tasks_blocked()
    trio.lowlevel.remove_instrument(orders.steps)
    assert [message for _, message in orders.came] == list(range(6))
    first, *others, last = [step for step, _ in orders.came]
    assert set(others) == {first}
    assert last > first
    nursery.cancel_scope.cancel()
