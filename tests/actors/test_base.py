"""The actor's loop: recovery, messages, ticks, calls, stops and crashes."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from kamou.actors.base import Actor, HandlerHungError
from kamou.clock import SimulatedClock
from kamou.errors import CallUnavailableError, DiskFullError
from kamou.runtime.mailboxes import Mailbox

DEADLINE_S = 30.0


@attrs.frozen
class Burn:
    """A message whose handling raises."""


@attrs.frozen
class Hang:
    """A message whose handling never returns."""


@attrs.frozen
class Work:
    seconds: float


class Recorder(Actor[Any]):
    """An actor that records what it does, and ticks every ``period_ms``; 0: never."""

    def __init__(self, inbox: Mailbox[Any], period_ms: int = 0) -> None:
        super().__init__(
            name="recorder",
            inbox=inbox,
            clock=SimulatedClock(start_ms=0),
            handler_deadline_s=DEADLINE_S,
        )
        self.did: list[Any] = []
        self.period_ms = period_ms
        self.due_ms = period_ms

    async def recover(self) -> None:
        await super().recover()
        self.did.append("recovered")
        assert not self.inbox.up

    async def handle(self, message: Any) -> None:
        match message:
            case Burn():
                raise ValueError("burnt")
            case Hang():
                await trio.sleep_forever()
            case Work(seconds):
                await trio.sleep(seconds)
        self.did.append(message)

    async def answer(self, message: Any) -> Any:
        if message == Burn():
            raise ValueError("burnt")
        return DiskFullError("no room") if message == "grow" else f"answer to {message}"

    def next_due_ms(self) -> int | None:
        return self.due_ms or None

    async def tick(self) -> None:
        self.did.append(("tick", self.clock.now_ms()))
        self.due_ms += self.period_ms


class Hardened(Recorder):
    """A recorder that handles every message without raising."""

    async def handle(self, message: Any) -> None:
        self.did.append(message)


class Plain(Actor[Any]):
    """An actor with the one method that every actor must have."""

    async def handle(self, message: Any) -> None:
        assert message is not None


@pytest.fixture
def inbox() -> Mailbox[Any]:
    return Mailbox("recorder", 16, now_ms=lambda: 0)


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_an_actor_recovers_before_its_mailbox_is_up(
    inbox: Mailbox[Any], nursery: trio.Nursery
) -> None:
    actor = Recorder(inbox)
    inbox.put_nowait("early")
    await nursery.start(actor.run)
    assert inbox.up
    await settle()
    assert actor.did == ["recovered", "early"]
    assert inbox.statistics().handled == 1


async def test_the_mailbox_of_an_actor_that_is_canceled_is_down(inbox: Mailbox[Any]) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(Recorder(inbox).run)
        nursery.cancel_scope.cancel()
    assert not inbox.up


async def test_a_tick_comes_at_its_time_or_after_the_message_in_hand(
    inbox: Mailbox[Any], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    actor = Recorder(inbox, period_ms=1_000)
    await nursery.start(actor.run)
    await trio.sleep(1.5)
    for _ in range(3):
        inbox.put_nowait(Work(0.4))
    await trio.sleep(2)
    assert actor.did == [
        "recovered",
        ("tick", 1_000),
        Work(0.4),
        Work(0.4),
        ("tick", 2_300),
        Work(0.4),
        ("tick", 3_000),
    ]


async def test_a_handler_that_raises_crashes_the_actor(inbox: Mailbox[Any]) -> None:
    inbox.put_nowait(Burn())
    inbox.put_nowait("next")
    with pytest.raises(ValueError, match="burnt"):
        await Recorder(inbox).run()
    assert not inbox.up
    assert inbox.statistics().depth == 1, (
        "the message that waited is not left for the next incarnation"
    )


@pytest.mark.parametrize(("message", "what"), [(Hang(), "Hang"), (None, "a tick or its last step")])
async def test_a_hanging_handler_or_tick_crashes_the_actor_and_the_error_names_it(
    message: Any, what: str, inbox: Mailbox[Any], autojump_clock: MockClock
) -> None:
    actor = Recorder(inbox, period_ms=1 if message is None else 0)
    if message is None:
        actor.tick = trio.sleep_forever  # type: ignore[method-assign]  # a tick that hangs
    else:
        inbox.put_nowait(message)
    with pytest.raises(HandlerHungError, match=f"recorder did not finish {what} within 30 s"):
        await actor.run()
    assert trio.current_time() == pytest.approx(DEADLINE_S, abs=0.01)


async def test_a_call_returns_the_answer_of_the_actor_or_raises_an_error_that_is_the_answer(
    inbox: Mailbox[Any], nursery: trio.Nursery
) -> None:
    await nursery.start(Recorder(inbox).run)
    assert await inbox.call("question", timeout_s=1) == "answer to question"
    with pytest.raises(DiskFullError, match="no room"):
        await inbox.call("grow", timeout_s=1)
    assert await inbox.call("again", timeout_s=1) == "answer to again"


async def test_an_answer_that_raises_fails_the_call_and_crashes_the_actor(
    inbox: Mailbox[Any],
) -> None:
    with pytest.RaisesGroup(ValueError):
        async with trio.open_nursery() as nursery:
            await nursery.start(Recorder(inbox).run)
            with trio.CancelScope(shield=True), pytest.raises(CallUnavailableError):
                await inbox.call(Burn(), timeout_s=1)
    with pytest.raises(CallUnavailableError, match="is starting or restarting; try again"):
        await inbox.call("question", timeout_s=1)


async def test_the_error_of_a_hanging_call_names_the_message(
    inbox: Mailbox[Any], autojump_clock: MockClock
) -> None:
    actor = Recorder(inbox)

    async def hang(message: Any) -> None:
        await trio.sleep_forever()

    actor.answer = hang  # type: ignore[method-assign]  # a handler that hangs
    with pytest.RaisesGroup(pytest.RaisesExc(HandlerHungError, match="Work")):
        async with trio.open_nursery() as nursery:
            await nursery.start(actor.run)
            with trio.CancelScope(shield=True), pytest.raises(CallUnavailableError):
                await inbox.call(Work(1), timeout_s=60)


async def test_an_actor_that_must_stop_handles_the_message_in_hand_first(
    inbox: Mailbox[Any], autojump_clock: MockClock
) -> None:
    actor = Recorder(inbox)
    inbox.put_nowait(Work(2))
    inbox.put_nowait("next")
    async with trio.open_nursery() as nursery:
        await nursery.start(actor.run)
        await trio.sleep(1)
        inbox.ask_to_stop()
    assert actor.did == ["recovered", Work(2)]
    assert inbox.statistics().depth == 1


async def test_a_message_that_arrives_together_with_the_request_to_stop_is_not_lost(
    inbox: Mailbox[Any],
) -> None:
    actor = Recorder(inbox)
    async with trio.open_nursery() as nursery:
        await nursery.start(actor.run)
        await settle()
        inbox.put_nowait("last")
        inbox.ask_to_stop()
    assert actor.did == ["recovered", "last"]


async def test_a_priority_message_in_hand_at_a_crash_reaches_the_next_incarnation(
    inbox: Mailbox[Any], nursery: trio.Nursery
) -> None:
    inbox.put_priority(Burn())
    with pytest.raises(ValueError, match="burnt"):
        await Recorder(inbox).run()
    second = Hardened(inbox)
    await nursery.start(second.run)
    await settle()
    assert second.did == ["recovered", Burn()]


async def test_an_actor_without_calls_or_ticks_fails_if_it_gets_one(inbox: Mailbox[Any]) -> None:
    actor = Plain(
        name="plain", inbox=inbox, clock=SimulatedClock(start_ms=0), handler_deadline_s=1.0
    )
    await actor.recover()
    assert actor.next_due_ms() is None
    with pytest.raises(AssertionError, match="answers no calls"):
        await actor.answer("question")
    with pytest.raises(AssertionError, match="no tick"):
        await actor.tick()
