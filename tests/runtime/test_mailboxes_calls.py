"""Calls: an answer or a named error, at the deadline at the latest."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from kamou.errors import CallTimeoutError, CallUnavailableError, DiskFullError
from kamou.runtime.calls import Call, answer_call
from kamou.runtime.mailboxes import Mailbox, WhenFull


def box(capacity: int = 4, when_full: WhenFull = WhenFull.REJECT, **more: Any) -> Mailbox[Any]:
    return Mailbox("box", capacity, when_full, now_ms=lambda: 0, **more)


def is_empty(mailbox: Mailbox[Any]) -> bool:
    """Return True if no unexpired message waits; take the message if one does."""
    try:
        mailbox.get_nowait()
    except trio.WouldBlock:
        return True
    return False


async def serve(mailbox: Mailbox[Any], result: Any) -> None:
    mailbox.mark_up()
    while True:
        call_ = await mailbox.get()
        assert type(call_) is Call
        answer_call(call_, result)


@pytest.mark.parametrize("when_full", [WhenFull.BLOCK, WhenFull.REJECT])
async def test_a_call_returns_the_answer(when_full: WhenFull, nursery: trio.Nursery) -> None:
    mailbox = box(when_full=when_full)
    nursery.start_soon(serve, mailbox, 42)
    await trio.testing.wait_all_tasks_blocked()
    assert await mailbox.call("question", timeout_s=1) == 42


async def test_a_call_raises_the_error_it_was_answered_with(nursery: trio.Nursery) -> None:
    mailbox = box()
    nursery.start_soon(serve, mailbox, DiskFullError("no room"))
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(DiskFullError, match="no room"):
        await mailbox.call("question", timeout_s=1)


async def test_a_call_to_an_actor_that_is_not_up_fails_at_once() -> None:
    mailbox = box()
    with pytest.raises(CallUnavailableError, match="is starting or restarting; try again"):
        await mailbox.call("question", timeout_s=1)
    assert is_empty(mailbox)


async def test_a_call_to_a_full_mailbox_fails_at_once() -> None:
    mailbox = box(capacity=1)
    mailbox.mark_up()
    mailbox.put_nowait(1)
    with pytest.raises(CallUnavailableError, match="mailbox is full; try again"):
        await mailbox.call("question", timeout_s=1)


async def test_a_call_to_a_mailbox_that_drops_messages_fails() -> None:
    inbox = box(when_full=WhenFull.OVERFLOW, on_overflow=lambda: None)
    with pytest.raises(AssertionError):
        await inbox.call("question", timeout_s=1)


async def test_an_unanswered_call_times_out_and_expires_unread(autojump_clock: MockClock) -> None:
    mailbox = box()
    mailbox.mark_up()
    with pytest.raises(CallTimeoutError, match="within 3 s"):
        await mailbox.call("question", timeout_s=3)
    assert trio.current_time() == 3
    assert is_empty(mailbox)
    assert mailbox.statistics().expired == 1


async def test_an_answer_that_comes_too_late_is_not_delivered(autojump_clock: MockClock) -> None:
    mailbox = box()
    mailbox.mark_up()
    late: list[bool] = []

    async def slow() -> None:
        call_ = await mailbox.get()
        await trio.sleep(10)
        late.append(answer_call(call_, 42))
        late.append(answer_call(call_, DiskFullError("no room")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(slow)
        with pytest.raises(CallTimeoutError):
            await mailbox.call("question", timeout_s=3)
    assert late == [False, False]


@pytest.mark.parametrize("taken", [True, False])
async def test_an_actor_that_ends_fails_its_outstanding_calls_at_once(
    taken: bool, autojump_clock: MockClock
) -> None:
    mailbox = box(capacity=1, when_full=WhenFull.BLOCK)
    mailbox.mark_up()
    failed: list[str] = []

    async def caller() -> None:
        with pytest.raises(CallUnavailableError, match="ended before it answered") as caught:
            await mailbox.call("question", timeout_s=60)
        failed.append(str(caught.value))

    async with trio.open_nursery() as nursery:
        for _ in range(3):  # one in hand or in the buffer, the others waiting for space
            nursery.start_soon(caller)
        await trio.testing.wait_all_tasks_blocked()
        if taken:
            await mailbox.get()
        mailbox.mark_down()
        mailbox.mark_down()
    assert len(failed) == 3
    assert trio.current_time() == 0
    assert is_empty(mailbox)


async def test_the_call_of_a_canceled_caller_expires_unread() -> None:
    mailbox = box()
    mailbox.mark_up()
    async with trio.open_nursery() as nursery:

        async def caller() -> None:
            await mailbox.call("question", timeout_s=60)

        nursery.start_soon(caller)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert is_empty(mailbox)
    assert mailbox.statistics().expired == 1


class Resumptions(trio.abc.Instrument):
    """Counts how often a task is resumed."""

    def __init__(self, task: trio.lowlevel.Task) -> None:
        self.task, self.count = task, 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task is self.task


@pytest.mark.parametrize("when_full", [WhenFull.BLOCK, WhenFull.REJECT])
async def test_a_caller_is_resumed_once_by_the_call_of_an_idle_actor(
    when_full: WhenFull, nursery: trio.Nursery
) -> None:
    mailbox = box(when_full=when_full)
    nursery.start_soon(serve, mailbox, 42)
    await trio.testing.wait_all_tasks_blocked()
    resumed = Resumptions(trio.lowlevel.current_task())
    trio.lowlevel.add_instrument(resumed)
    for _ in range(3):
        await mailbox.call("question", timeout_s=1)
    trio.lowlevel.remove_instrument(resumed)
    assert resumed.count == 3


async def test_a_call_waits_for_space_behind_the_messages_before_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    mailbox = box(capacity=1, when_full=WhenFull.BLOCK)
    mailbox.mark_up()
    mailbox.put_nowait("first")
    answers: dict[str, object] = {}

    async def ask(question: str) -> None:
        answers[question] = await mailbox.call(question, timeout_s=5)

    for question in ("second", "third"):
        nursery.start_soon(ask, question)
        await trio.testing.wait_all_tasks_blocked()
    assert mailbox.statistics().accepted == 1
    taken = [await mailbox.get() for _ in range(3)]
    assert taken[0] == "first"
    assert [call_.message for call_ in taken[1:]] == ["second", "third"]
    for call_ in taken[1:]:
        answer_call(call_, call_.message)
    await trio.testing.wait_all_tasks_blocked()
    assert answers == {"second": "second", "third": "third"}
    assert mailbox.statistics().accepted == 3


async def test_a_caller_that_is_canceled_already_puts_no_blocking_call() -> None:
    mailbox = box(when_full=WhenFull.BLOCK)
    mailbox.mark_up()
    with trio.CancelScope() as scope:
        scope.cancel()
        await mailbox.call("question", timeout_s=1)
    assert scope.cancelled_caught
    assert mailbox.statistics().accepted == 0
