"""Mailboxes: policies when full, expiry, statistics, waiting, the priority lane, stopping."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from kamou.clock import SimulatedClock, SystemClock
from kamou.core.day import MINUTE_MS
from kamou.runtime.mailboxes import PRIORITY_CAPACITY, REDELIVERIES_MAX, Mailbox, WhenFull

NOW_MS = 1_000


@attrs.frozen(kw_only=True)
class Note:
    text: str
    expires_at_ms: int = 10_000


def box(capacity: int = 4, when_full: WhenFull = WhenFull.REJECT, **more: Any) -> Mailbox[Any]:
    return Mailbox("box", capacity, when_full, now_ms=lambda: NOW_MS, **more)


def drain(mailbox: Mailbox[Any]) -> list[Any]:
    taken = []
    while True:
        try:
            taken.append(mailbox.get_nowait())
        except trio.WouldBlock:
            return taken


# --- policies --------------------------------------------------------------------------------


def test_messages_come_out_in_the_order_they_went_in() -> None:
    mailbox = box()
    assert [mailbox.put_nowait(n) for n in (1, 2, 3)] == [True] * 3
    assert drain(mailbox) == [1, 2, 3]


def test_a_full_rejecting_mailbox_rejects_a_message_and_counts_it() -> None:
    mailbox = box(capacity=1)
    assert mailbox.put_nowait(1)
    assert not mailbox.put_nowait(2)
    assert drain(mailbox) == [1]
    assert mailbox.statistics().rejected == 1


async def test_a_put_to_a_rejecting_mailbox_does_not_wait() -> None:
    mailbox = box(capacity=1)
    assert await mailbox.put(1, timeout_s=5)
    before = trio.current_time()
    assert not await mailbox.put(2, timeout_s=5)
    assert trio.current_time() - before < 5


async def test_a_blocking_put_waits_for_space(autojump_clock: MockClock) -> None:
    mailbox = box(capacity=1, when_full=WhenFull.BLOCK)
    mailbox.put_nowait(1)
    async with trio.open_nursery() as nursery:
        accepted: list[bool] = []

        async def producer() -> None:
            accepted.append(await mailbox.put(2, timeout_s=5))

        nursery.start_soon(producer)
        await trio.sleep(4)
        assert accepted == []
        assert await mailbox.get() == 1
    assert accepted == [True]
    assert drain(mailbox) == [2]


async def test_a_blocking_put_gives_up_at_its_deadline(autojump_clock: MockClock) -> None:
    mailbox = box(capacity=1, when_full=WhenFull.BLOCK)
    mailbox.put_nowait(1)
    assert not await mailbox.put(2, timeout_s=5)
    assert trio.current_time() == 5
    assert not mailbox.put_nowait(3)
    assert drain(mailbox) == [1]
    assert mailbox.statistics().rejected == 2


def test_conflation_keeps_the_newest_per_key_in_the_order_of_first_arrival() -> None:
    mailbox = box(when_full=WhenFull.CONFLATE, key=lambda item: item[0])
    for item in (("a", 1), ("b", 1), ("a", 2)):
        assert mailbox.put_nowait(item)
    assert drain(mailbox) == [("a", 2), ("b", 1)]
    assert mailbox.statistics().dropped == 1


def test_conflation_with_too_many_keys_drops_the_oldest() -> None:
    mailbox = box(capacity=2, when_full=WhenFull.CONFLATE, key=lambda item: item)
    for item in "abc":
        assert mailbox.put_nowait(item)
    assert drain(mailbox) == ["b", "c"]
    assert mailbox.statistics().dropped == 1


async def test_conflation_replaces_a_message_that_is_on_its_way_to_a_waiting_actor() -> None:
    mailbox = box(capacity=1, when_full=WhenFull.CONFLATE, key=lambda item: item[0])
    got: list[Any] = []

    async def actor() -> None:
        got.append(await mailbox.get())
        got.append(await mailbox.get())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(actor)
        await trio.testing.wait_all_tasks_blocked()
        for item in (("a", 1), ("a", 2), ("b", 1)):
            mailbox.put_nowait(item)
    assert got == [("a", 2), ("b", 1)]


def test_a_message_to_a_full_overflow_mailbox_is_dropped_and_the_drop_is_announced() -> None:
    drops: list[str] = []
    mailbox = box(
        capacity=1, when_full=WhenFull.OVERFLOW, on_overflow=lambda: drops.append("dropped")
    )
    assert mailbox.put_nowait(1)
    assert drops == []
    assert not mailbox.put_nowait(2)
    assert drops == ["dropped"]
    assert mailbox.statistics().dropped == 1


def test_conflation_without_a_key_and_overflow_without_a_callback_fail() -> None:
    for policy in (WhenFull.CONFLATE, WhenFull.OVERFLOW):
        with pytest.raises(AssertionError):
            box(when_full=policy)


@given(st.lists(st.one_of(st.integers(0, 5), st.none()), max_size=60))
@settings(max_examples=60)
def test_conflated_mailboxes_agree_with_a_dictionary(steps: list[int | None]) -> None:
    mailbox = box(capacity=6, when_full=WhenFull.CONFLATE, key=lambda item: item[0])
    model: dict[int, int] = {}
    for at, step in enumerate(steps):
        if step is not None:
            mailbox.put_nowait((step, at))
            model[step] = at
        elif model:
            key = next(iter(model))
            assert mailbox.get_nowait() == (key, model.pop(key))
    assert drain(mailbox) == list(model.items())


# --- expiry and statistics -------------------------------------------------------------------


async def test_a_message_past_its_deadline_expires_unread_and_is_counted() -> None:
    mailbox = box()
    mailbox.put_nowait(Note(text="late", expires_at_ms=NOW_MS))
    mailbox.put_nowait(Note(text="in time", expires_at_ms=NOW_MS + 1))
    assert (await mailbox.get()).text == "in time"
    mailbox.put_nowait(Note(text="late", expires_at_ms=NOW_MS))
    mailbox.put_nowait("no deadline")
    assert await mailbox.get_until(None, SystemClock()) == "no deadline"
    assert mailbox.statistics().expired == 2


def test_the_statistics_of_a_mailbox_have_depth_peak_and_work() -> None:
    mailbox = box()
    for n in range(3):
        mailbox.put_nowait(n)
    mailbox.get_nowait()
    mailbox.count_handled(2_000_000_000)
    mailbox.put_priority("halt")
    counts = mailbox.statistics()
    assert (counts.name, counts.depth, counts.capacity, counts.peak) == ("box", 3, 4, 3)
    assert (counts.accepted, counts.handled, counts.busy_s) == (4, 1, 2.0)


# --- waiting ---------------------------------------------------------------------------------


async def test_get_until_returns_none_at_the_time(autojump_clock: MockClock) -> None:
    clock = SimulatedClock(start_ms=NOW_MS)
    assert await box().get_until(NOW_MS + 5_000, clock) is None
    assert trio.current_time() == 5


async def test_a_due_time_goes_before_waiting_messages(autojump_clock: MockClock) -> None:
    mailbox, clock = box(), SimulatedClock(start_ms=NOW_MS)
    mailbox.put_nowait(1)
    assert await mailbox.get_until(NOW_MS, clock) is None
    assert await mailbox.get_until(NOW_MS + 1, clock) == 1


async def test_get_until_returns_a_message_that_comes_before_the_time(
    autojump_clock: MockClock,
) -> None:
    mailbox, clock = box(), SimulatedClock(start_ms=NOW_MS)

    async def later() -> None:
        await trio.sleep(2)
        mailbox.put_nowait("came")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(later)
        assert await mailbox.get_until(NOW_MS + 5_000, clock) == "came"
    assert trio.current_time() == 2


async def test_a_wait_on_the_system_clock_notices_that_the_clock_was_stepped(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0, 10 * MINUTE_MS])
    monkeypatch.setattr(SystemClock, "now_ms", lambda self: next(times))
    assert await box().get_until(10 * MINUTE_MS, SystemClock()) is None
    assert trio.current_time() == 60


async def test_a_wait_that_trios_clock_bounds_ends_though_the_clock_was_set_back(
    autojump_clock: MockClock,
) -> None:
    class SetBack(SimulatedClock):
        def now_ms(self) -> int:
            true_ms = super().now_ms()
            return true_ms - (4_000 if true_ms > NOW_MS else 0)

    clock = SetBack(start_ms=NOW_MS)
    assert await box().get_until(NOW_MS + 1_000, clock, latest_s=1.0) is None
    assert trio.current_time() == 1
    assert await box().get_until(NOW_MS + 1_000, clock) is None  # without the bound: 4 s more
    assert trio.current_time() == 5


# --- the priority lane -----------------------------------------------------------------------


async def test_a_priority_message_is_taken_first_and_wakes_a_waiting_actor() -> None:
    mailbox = box()
    mailbox.put_nowait("ordinary")
    assert mailbox.put_priority("halt")
    assert await mailbox.get() == "halt"
    assert await mailbox.get() == "ordinary"
    for get in (mailbox.get, lambda: mailbox.get_until(None, SystemClock())):
        async with trio.open_nursery() as nursery:

            async def actor(get: Any = get) -> None:
                assert await get() == "halt"

            nursery.start_soon(actor)
            await trio.testing.wait_all_tasks_blocked()
            mailbox.put_priority("halt")
    assert mailbox.statistics().depth == 0


async def test_a_priority_message_goes_before_a_due_time() -> None:
    mailbox = box()
    mailbox.put_priority("halt")
    assert await mailbox.get_until(0, SystemClock()) == "halt"


def test_the_priority_lane_is_bounded() -> None:
    mailbox = box()
    taken = [mailbox.put_priority(n) for n in range(PRIORITY_CAPACITY + 1)]
    assert taken == [True] * PRIORITY_CAPACITY + [False]


def test_a_priority_message_in_hand_at_a_crash_is_redelivered_and_then_a_dead_letter() -> None:
    mailbox = box()
    mailbox.put_priority("halt")
    for _ in range(REDELIVERIES_MAX + 1):
        assert mailbox.statistics().dead_letters == 0
        assert mailbox.get_nowait() == "halt"
        mailbox.mark_down()
    assert drain(mailbox) == []
    assert mailbox.statistics().dead_letters == 1


def test_a_priority_message_that_was_handled_is_not_delivered_again() -> None:
    mailbox = box()
    mailbox.put_priority("halt")
    mailbox.get_nowait()
    mailbox.count_handled(0)
    mailbox.mark_down()
    mailbox.put_priority("resume")
    mailbox.put_nowait("ordinary")
    mailbox.get_nowait()
    mailbox.get_nowait()  # an actor that takes the next message has handled the last one
    mailbox.mark_down()
    assert drain(mailbox) == []


def test_an_ordinary_message_in_hand_at_a_crash_is_lost() -> None:
    mailbox = box()
    mailbox.put_nowait(1)
    mailbox.put_nowait(2)
    mailbox.get_nowait()
    mailbox.mark_down()
    assert drain(mailbox) == [2]


# --- stopping --------------------------------------------------------------------------------


async def test_asking_an_actor_to_stop_ends_its_wait_and_keeps_the_messages() -> None:
    mailbox = box()

    async def actor() -> None:
        assert await mailbox.get_until(None, SystemClock()) is None

    async with trio.open_nursery() as nursery:
        nursery.start_soon(actor)
        await trio.testing.wait_all_tasks_blocked()
        mailbox.ask_to_stop()
    assert mailbox.stopping
    mailbox.put_nowait(1)
    assert await mailbox.get_until(None, SystemClock()) is None
    mailbox.mark_up()
    assert await mailbox.get_until(None, SystemClock()) == 1


async def test_a_canceled_get_takes_no_message(autojump_clock: MockClock) -> None:
    mailbox = box()
    for put in (mailbox.put_nowait, mailbox.put_priority):
        put("kept")
        with trio.CancelScope() as scope:
            scope.cancel()
            await mailbox.get()
        assert scope.cancelled_caught
        assert drain(mailbox) == ["kept"]
