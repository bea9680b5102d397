"""Tests of the operator's reads and commands when the run has a problem."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kamou.clock import SystemClock
from kamou.core.codes import StateReason
from kamou.core.kinds import DriftKind
from kamou.core.model import Quote, TradingState
from kamou.data_directory.latch import HaltLatch, LatchAction
from kamou.errors import KamouError, RateLimitedError, TimedOutError, UnreachableError
from kamou.messages.governor import Flatten, Halt, Resume
from kamou.operator.phases import RunPhase
from kamou.runs import operator_actions
from kamou.runs.operator_actions import CurrentRun
from kamou.runtime.mailboxes import PRIORITY_CAPACITY, Mailbox
from tests.core.trading_cases import NOON, D, Story, plan, quote
from tests.runs.parts_of_a_run import Follower, Supervised, Tree, tree_of


@pytest.fixture
def follower() -> Follower:
    return Follower()


@pytest.fixture
def supervised() -> Supervised:
    return Supervised()


@pytest.fixture
def running(follower: Any, supervised: Any) -> CurrentRun:
    tree: Any = Tree(Mailbox("risk_governor", 4, now_ms=SystemClock().now_ms))
    return CurrentRun(phase=RunPhase.TRADING, tree=tree, supervisor=supervised, follower=follower)


async def test_a_starting_run_is_not_ready_and_its_halt_fails_without_a_latch() -> None:
    starting = CurrentRun()
    assert starting.status() == {
        "phase": "starting",
        "state": None,
        "disk_full": False,
        "held": False,
        "gauges": {},
        "site": None,
        "listeners": {},
        "strategy_failures": [],
        "order_flow": None,
    }
    assert starting.not_ready() == ["not trading yet: the run is starting"]
    assert starting.snapshot()["children"] == []
    with pytest.raises(KamouError, match="not trading yet"):
        await starting.halt("")


@pytest.mark.parametrize("phase", [RunPhase.STARTING, RunPhase.FAST_FORWARD, RunPhase.STOPPING])
async def test_a_halt_before_or_after_trading_sets_the_latch(
    tmp_path: Path, phase: RunPhase
) -> None:
    latch = HaltLatch(tmp_path / "halt-latch")
    starting = CurrentRun(phase=phase, latch=latch)
    assert (await starting.halt("news"))["entries"] == "held"
    assert latch.is_set()
    assert [(each.action, each.reason) for each in latch.log()] == [("halt", "news")]


@pytest.mark.parametrize(
    ("action", "asked"), [(LatchAction.HALT, Halt), (LatchAction.SET, Flatten)]
)
async def test_a_latch_set_after_the_start_read_its_log_is_sent_to_the_governor(
    running: CurrentRun,
    follower: Follower,
    tmp_path: Path,
    action: LatchAction,
    asked: type[Halt | Flatten],
) -> None:
    running.latch = HaltLatch(tmp_path / "halt-latch")
    governor = tree_of(running).governor
    running._enforce_latch(follower.book)
    assert governor.priority_pending == 0, "the latch is not set"
    running.latch.set("news", "operator", 1, action=action)
    running._enforce_latch(follower.book)
    told = await governor.get()
    assert isinstance(told, asked)
    assert told.note == "news"


@pytest.fixture
def latched(running: CurrentRun, tmp_path: Path) -> HaltLatch:
    """Return the latch, not set, of a run whose book agrees with the venue."""
    running.latch = HaltLatch(tmp_path / "halt-latch")
    running.set_reconciled(True)
    return running.latch


async def test_a_run_whose_latch_is_set_while_its_state_allows_entries_is_not_ready(
    running: CurrentRun, follower: Follower, latched: HaltLatch
) -> None:
    assert (running.not_ready(), running.status()["held"]) == ([], False)
    latched.set("news", "operator", 1, action=LatchAction.HALT)
    assert running.not_ready() == [operator_actions.LATCHED]
    assert running.status()["held"] is True
    follower.book.trading.state = TradingState.REDUCE_ONLY
    assert (running.not_ready(), running.status()["held"]) == ([], False), (
        "the trading state blocks entries"
    )


async def resume(running: CurrentRun, meanwhile: Callable[[], object] = lambda: None) -> Any:
    """Resume with a governor that changes nothing; return the answer."""
    governor = tree_of(running).governor
    answers: list[Any] = []

    async def ask() -> None:
        answers.append(await running.resume("calm"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        meanwhile()
        assert isinstance(await governor.get(), Resume)
        governor.count_handled(0)
    return answers[0]


async def test_a_resume_removes_the_latch_that_a_halt_at_the_start_set(
    running: CurrentRun, latched: HaltLatch, autojump_clock: MockClock
) -> None:
    running.phase = RunPhase.STARTING
    await running.halt("news")
    assert running.status()["held"] is True
    running.phase = RunPhase.TRADING
    told = await resume(running)
    assert (told["state"], told["latch"]) == ("active", "removed")
    assert not latched.is_set()
    assert running.not_ready() == []
    assert [(each.action, each.reason) for each in latched.log()] == [
        ("halt", "news"),
        ("clear", "calm"),
    ]


@pytest.mark.parametrize("kept", ["flatten", "unclear", "halted", "undeletable"])
async def test_a_latch_that_a_resume_does_not_remove_is_reported(
    running: CurrentRun,
    follower: Follower,
    latched: HaltLatch,
    autojump_clock: MockClock,
    kept: str,
) -> None:
    if kept == "unclear":
        latched.path.touch()
    else:
        latched.set(
            "news", "operator", 1, action=LatchAction.SET if kept == "flatten" else LatchAction.HALT
        )
    if kept == "halted":
        follower.book.trading.state = TradingState.REDUCE_ONLY
    if kept == "undeletable":
        latched.log_path.unlink()
        latched.log_path.mkdir()
    told = await resume(running)
    assert told["latch"].startswith("set")
    assert ("cannot clear" in told["latch"]) is (kept == "undeletable")
    assert told["entries"] == "held"
    assert latched.is_set()


async def test_a_halt_during_a_resume_keeps_its_latch(
    running: CurrentRun, latched: HaltLatch, autojump_clock: MockClock
) -> None:
    latched.set("news", "operator", 1, action=LatchAction.HALT)
    told = await resume(
        running, lambda: latched.set("worse", "operator", 2, action=LatchAction.HALT)
    )
    assert told["latch"] == "set"
    assert latched.is_set()


async def test_damaged_lines_of_the_latchs_log_are_announced_in_one_warning(
    running: CurrentRun, latched: HaltLatch
) -> None:
    said: list[str] = []
    running._announce_damage(said.append)
    assert said == []
    latched.log_path.write_bytes(b"\xff\nnothing\n")
    running._announce_damage(said.append)
    assert said == [f"lines 1, 2 of {latched.log_path} cannot be read: check the file"]


async def test_a_run_is_not_ready_while_it_stops_has_drift_or_is_not_reconciled(
    running: CurrentRun, follower: Follower, supervised: Supervised
) -> None:
    supervised.state = "stopping"
    follower.book.reconciliation.drift["BTCUSDT"] = DriftKind.QUANTITY_DIFFERS
    reasons = " and ".join(running.not_ready())
    for said in ("starting, stopping", "and the venue differ", "is not reconciled"):
        assert said in reasons
    supervised.state = "running"
    follower.book.reconciliation.drift.clear()
    running.set_reconciled(True)
    assert running.not_ready() == []
    assert running.snapshot()["children"] == [{"id": "kamou"}]


async def test_with_an_unreadable_journal_the_status_has_no_state_and_a_command_fails(
    running: CurrentRun, follower: Follower
) -> None:
    follower.trouble = sqlite3.OperationalError("disk I/O error")
    assert running.status()["state"] is None
    assert running.not_ready() == ["the run cannot read the journal"]
    governor = tree_of(running).governor
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_work_off, governor)
        with pytest.raises(KamouError, match="the governor has the command"):
            await running.halt("")


async def _work_off(governor: Mailbox[Any]) -> None:
    await governor.get()
    governor.count_handled(0)


async def test_a_command_is_answered_only_after_the_governor_has_handled_it(
    running: CurrentRun, autojump_clock: MockClock
) -> None:
    governor = tree_of(running).governor
    earlier = Resume(note="of before")
    seen: list[str] = []

    async def ask() -> None:
        await running.halt("news")
        seen.append("answered")

    async with trio.open_nursery() as nursery:
        governor.put_nowait(earlier)
        assert await governor.get() == earlier
        nursery.start_soon(ask)
        await trio.sleep(1)
        governor.count_handled(0)
        assert await governor.get() == Halt(reason=StateReason.OPERATOR_HALT, note="news")
        await trio.sleep(1)
        assert seen == [], "the governor has not handled the halt"
        governor.count_handled(0)
    assert seen == ["answered"]


async def test_a_command_that_the_governor_does_not_handle_times_out(
    running: CurrentRun, autojump_clock: MockClock
) -> None:
    before = trio.current_time()
    with pytest.raises(TimedOutError, match="did not act"):
        await running.resume("")
    assert trio.current_time() - before == pytest.approx(operator_actions.ANSWER_S, abs=0.1)


async def test_a_command_to_a_full_priority_lane_fails_at_once(running: CurrentRun) -> None:
    governor = tree_of(running).governor
    for _ in range(PRIORITY_CAPACITY):
        assert governor.put_priority(Halt(reason=StateReason.OPERATOR_HALT))
    with pytest.raises(TimedOutError, match="lane is full"):
        await running.halt("")


class Clock(SystemClock):
    """A clock that stands at the time that a test sets."""

    at_ms = NOON

    def now_ms(self) -> int:
        return self.at_ms


class Port:
    """An exchange port with a quote of one symbol, which may raise or never answer."""

    def __init__(self) -> None:
        self.price = "103"
        self.asked: list[tuple[str, ...]] = []
        self.trouble: Exception | None = None
        self.silent = False

    async def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        self.asked.append(symbols)
        if self.silent:
            await trio.sleep_forever()
        if self.trouble is not None:
            raise self.trouble
        return {"SOLUSDT": quote("SOLUSDT", self.price, at_ms=NOON + len(self.asked))}


@pytest.fixture
def holding(running: CurrentRun, follower: Follower) -> CurrentRun:
    """Return a run with a position of 10 units at 100 and a stop at 97."""
    story = Story()
    story.ready()
    story.open(plan())
    follower.book = story.book
    running.clock = Clock()
    tree_of(running).port = Port()
    return running


def told(running: CurrentRun) -> dict[str, Any]:
    (position,) = running.status()["positions"]
    return dict(position)


async def test_a_status_has_the_current_marks(holding: CurrentRun) -> None:
    assert told(holding)["mark_price"] is None
    await holding.refresh_marks()
    position = told(holding)
    assert (position["mark_price"], position["mark_at_ms"]) == ("103", NOON + 1)
    assert D(position["unrealized_pnl"]) == 30  # 10 units x 3
    assert holding.status()["at_ms"] == NOON


async def test_marks_are_read_once_a_second_for_all_requests(holding: CurrentRun) -> None:
    port: Any = tree_of(holding).port
    for _ in range(3):
        await holding.refresh_marks()
    assert port.asked == [("SOLUSDT",)]
    clock: Any = holding.clock
    clock.at_ms += operator_actions.MARKS_FRESH_MS
    await holding.refresh_marks()
    assert len(port.asked) == 2


async def test_marks_are_read_at_once_after_the_clock_was_set_back(holding: CurrentRun) -> None:
    port: Any = tree_of(holding).port
    await holding.refresh_marks()
    clock: Any = holding.clock
    clock.at_ms -= 3_600_000
    await holding.refresh_marks()
    await holding.refresh_marks()
    assert len(port.asked) == 2


@pytest.mark.parametrize("trouble", [UnreachableError("gone"), RateLimitedError("wait"), None])
async def test_the_older_marks_stay_if_reading_new_marks_fails_or_gets_no_answer(
    holding: CurrentRun, autojump_clock: MockClock, trouble: Exception | None
) -> None:
    await holding.refresh_marks()
    port: Any = tree_of(holding).port
    port.trouble, port.silent = trouble, trouble is None
    clock: Any = holding.clock
    clock.at_ms += 60_000
    await holding.refresh_marks()
    assert len(port.asked) == 2
    assert (told(holding)["mark_price"], told(holding)["mark_at_ms"]) == ("103", NOON + 1)


async def test_an_invalid_mark_is_not_used(holding: CurrentRun) -> None:
    port: Any = tree_of(holding).port
    port.price = "NaN"
    await holding.refresh_marks()
    assert told(holding)["mark_price"] is None


async def test_without_positions_no_mark_is_read(holding: CurrentRun, follower: Follower) -> None:
    follower.book.trades.open.clear()
    await holding.refresh_marks()
    port: Any = tree_of(holding).port
    assert port.asked == []
    assert holding.status()["positions"] == []


async def test_a_flatten_reports_the_positions_left_at_its_deadline(
    running: CurrentRun, follower: Follower, autojump_clock: MockClock
) -> None:
    trade: Any = object()
    follower.book.trades.open["BTCUSDT"] = trade
    governor = tree_of(running).governor
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_work_off, governor)
        told = await running.flatten("")
    assert told["positions_left"] == 1
