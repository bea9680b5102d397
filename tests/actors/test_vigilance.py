"""Lost stops, hanging calls, external orders, wrong equity, commands on a full disk."""

from __future__ import annotations

import attrs
import pytest
import trio

from kamou.actors.order_executor import OrderExecutorSettings
from kamou.actors.timed_port import TimedPort
from kamou.core.book.events import (
    DayOpened,
    FillRecorded,
    IntentRecorded,
    PermitGranted,
    PositionAdopted,
    StateChanged,
    StopConfirmed,
    TradeClosed,
)
from kamou.core.codes import StateReason
from kamou.core.model import (
    Account,
    Intent,
    OrderReport,
    OrderRole,
    OrderSide,
    OrderType,
    TradingState,
)
from kamou.errors import DiskFullError, RejectedError, UnknownOutcomeError, UnreachableError
from kamou.exchange.embedded import SimulatedExchange
from kamou.messages.governor import Flatten, Halt
from kamou.venue.state import OrderRequest
from tests.actors.scripted_market import D
from tests.actors.system_harness import SETTINGS, Harness, at, run_system

HELD = "DDD"  # the symbol whose position the scripted market holds from minute two on
SLOW_CYCLES = attrs.evolve(SETTINGS, cycle=attrs.evolve(SETTINGS.cycle, period_s=120))


class NoNewStops(SimulatedExchange):
    """A venue that takes attached stops and rejects separate ones."""

    async def _place(self, intent: Intent, attached: tuple[Intent, ...]) -> OrderReport:
        if intent.symbol == HELD and intent.role is OrderRole.STOP_LOSS:
            raise RejectedError("REFUSED", "no separate stops today")
        return await super()._place(intent, attached)


async def lose_the_stop(harness: Harness) -> None:
    await harness.until(2.06)
    confirmed = harness.book().trades.open[HELD].confirmed
    assert confirmed is not None
    harness.session.engine.cancel(confirmed.client_order_id)
    harness.push_events()


def test_a_position_without_a_stop_is_closed_within_11_s_although_cycles_take_120_s() -> None:
    ended = run_system(adapter=NoNewStops, direct=lose_the_stop, settings=SLOW_CYCLES)
    closes = {
        event.intent.client_order_id
        for event in ended.of(IntentRecorded)
        if event.intent.symbol == HELD and event.intent.role is OrderRole.EXIT
    }
    (closed,) = [f for f in ended.of(FillRecorded) if f.fill.client_order_id in closes]
    assert closed.at_ms - at(2.06) <= 11_000
    assert ended.checked.violations == ()


class Hanging(SimulatedExchange):
    """A venue whose first cancel never answers."""

    hung = False

    async def _cancel(self, client_order_id: str, symbol: str) -> None:
        if not Hanging.hung:
            Hanging.hung = True
            await trio.sleep_forever()
        await super()._cancel(client_order_id, symbol)


def test_a_venue_call_that_hangs_crashes_no_actor_and_leaves_no_position_unprotected() -> None:
    Hanging.hung = False
    ended = run_system(adapter=Hanging)
    assert Hanging.hung
    assert ended.crashes == []
    assert ended.checked.violations == ()


async def test_a_late_read_is_unreachable_and_a_late_cancel_has_an_unknown_outcome(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Deaf:
        async def open_orders(self) -> tuple[OrderReport, ...]:
            await trio.sleep_forever()
            return ()

        async def cancel(self, client_order_id: str, symbol: str) -> None:
            await trio.sleep_forever()

    port = TimedPort(Deaf(), OrderExecutorSettings().venue_timeout_s)  # type: ignore[arg-type]  # has only the methods that the test calls
    with pytest.raises(UnreachableError, match=r"read open_orders within 5 s"):
        await port.open_orders()
    with pytest.raises(UnknownOutcomeError, match=f"cancel of km for {HELD} within 5 s"):
        await port.cancel("km", HELD)


async def reverse_by_hand(harness: Harness) -> None:
    await harness.until(2.3)
    held = harness.book().trades.open[HELD].signed
    harness.session.engine.place(
        OrderRequest(
            client_order_id="by-hand",
            symbol=HELD,
            side=OrderSide.SELL if held > 0 else OrderSide.BUY,
            type=OrderType.MARKET,
            quantity=abs(held) * 2,
        )
    )
    harness.push_events()


def test_a_position_that_an_external_order_reverses_is_adopted_and_protected_within_5_s() -> None:
    ended = run_system(direct=reverse_by_hand, settings=SLOW_CYCLES)
    (adopted,) = ended.of(PositionAdopted)
    assert adopted.at_ms - at(2.3) < 5_000
    stops = [s for s in ended.of(StopConfirmed) if s.symbol == HELD and s.at_ms > at(2.3)]
    assert stops[0].at_ms - at(2.3) < 5_000
    (closed,) = [t for t in ended.of(TradeClosed) if t.symbol == HELD and t.at_ms < at(3)]
    assert (
        closed.quantity == adopted.quantity
    )  # the reversing order closed only the quantity of the trade


class WrongAtFirst(SimulatedExchange):
    """A venue whose first account read has a tenth of the equity."""

    reads = 0

    async def account(self) -> Account:
        report = await super().account()
        WrongAtFirst.reads += 1
        if WrongAtFirst.reads == 1:
            return attrs.evolve(report, equity=report.equity / 10)
        return report


def test_a_single_wrong_read_of_equity_does_not_open_the_day() -> None:
    WrongAtFirst.reads = 0
    ended = run_system(adapter=WrongAtFirst)
    (opened,) = ended.of(DayOpened)
    assert opened.equity == D(10_000)


@pytest.mark.parametrize(
    ("command", "state"),
    [
        (Halt(reason=StateReason.OPERATOR_HALT), TradingState.REDUCE_ONLY),
        (Flatten(reason=StateReason.OPERATOR_FLATTEN), TradingState.FLATTENING),
    ],
)
def test_an_operators_command_on_a_full_disk_is_carried_out_when_space_returns(
    command: Halt | Flatten, state: TradingState
) -> None:
    async def direct(harness: Harness) -> None:
        writer = harness.session.writer
        append, note = writer.append_encoded, writer.set_meta

        def full(*arguments: object, **named: object) -> None:
            raise DiskFullError("full")

        await harness.until(2.3)
        writer.append_encoded = writer.set_meta = full  # type: ignore[method-assign,assignment]  # a full disk at every write
        harness.tree.governor.put_priority(command)
        await harness.until(3.3)
        writer.append_encoded, writer.set_meta = append, note  # type: ignore[method-assign]  # the disk has space again

    ended = run_system(direct=direct)
    assert (ended.book.trading.state, ended.book.trading.reason) == (state, command.reason)
    assert [p for p in ended.of(PermitGranted) if p.at_ms > at(2.3)] == []
    assert command.reason in [change.reason for change in ended.of(StateChanged)]
