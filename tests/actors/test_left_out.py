"""Venue lists that omit an important row several times; a clock that is set back."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

import attrs
import pytest

from kamou.clock import SimulatedClock
from kamou.core.book.events import (
    FillRecorded,
    IncomeRecorded,
    IntentRecorded,
    OrderClosed,
    PermitGranted,
    PositionAdopted,
    StateChanged,
)
from kamou.core.book.updates import VenueEvent
from kamou.core.model import (
    FillReport,
    Income,
    Intent,
    OrderReport,
    OrderRole,
    OrderSide,
    OrderType,
    PositionReport,
    TradingState,
)
from kamou.errors import RejectedError
from kamou.exchange.base import PortChecks
from kamou.venue.engine import Engine
from kamou.venue.state import OrderRequest
from tests.actors import system_harness
from tests.actors.system_harness import SETTINGS, Ended, Harness, at, run_system
from tests.actors.trouble import Trouble, TroubledExchange

D = Decimal
HELD = "DDD"  # the symbol whose position the scripted market holds from minute two on
FLAT = "HHH"  # has no position before minute 11
SLOW_CYCLES = attrs.evolve(SETTINGS, cycle=attrs.evolve(SETTINGS.cycle, period_s=120))
NO_ATTACHED_STOPS = attrs.evolve(
    SETTINGS, exchange=attrs.evolve(SETTINGS.exchange, attached_stop=False)
)


@attrs.define
class LeftOut:
    """Numbers of omissions that are left per list, and the ids of queried orders."""

    fills: int = 0
    positions: int = 0
    transfers: int = 0
    orders_asked: list[str] = attrs.Factory(list)

    def strikes(self, name: str) -> bool:
        left = getattr(self, name)
        setattr(self, name, max(0, left - 1))
        return bool(left)


class LyingExchange(TroubledExchange):
    """A venue whose lists omit a row of ``HELD`` or ``FLAT``, or the transfers."""

    def __init__(self, *args: Any, out: LeftOut, **more: Any) -> None:
        super().__init__(*args, **more)
        self.out = out

    def _forward(self, events: list[VenueEvent]) -> None:
        if "stream" not in self.trouble.away:
            super()._forward(events)

    async def order(self, client_order_id: str) -> OrderReport | None:
        self.out.orders_asked.append(client_order_id)
        return await super().order(client_order_id)

    async def fills(self, since_ms: int) -> tuple[FillReport, ...]:
        rows = await super().fills(since_ms)
        kept = tuple(fill for fill in rows if fill.symbol != HELD)
        return kept if kept != rows and self.out.strikes("fills") else rows

    async def positions(self) -> tuple[PositionReport, ...]:
        rows = await super().positions()
        kept = tuple(position for position in rows if position.symbol != FLAT)
        return kept if kept != rows and self.out.strikes("positions") else rows

    async def income(self, since_ms: int) -> tuple[Income, ...]:
        rows = await super().income(since_ms)
        kept = tuple(row for row in rows if row.kind != "transfer")
        return kept if kept != rows and self.out.strikes("transfers") else rows


def play(out: LeftOut, trouble: Trouble | None = None, **more: Any) -> Ended:
    return run_system(adapter=partial(LyingExchange, trouble=trouble or Trouble(), out=out), **more)


def play_without_stream(out: LeftOut) -> Ended:
    """Run without the stream's reports while an entry without an attached stop fills."""
    trouble = Trouble()

    async def direct(harness: Harness) -> None:
        await harness.until(1.9)
        trouble.away = frozenset({"stream"})
        await harness.until(2.5)
        trouble.away = frozenset()

    return play(out, trouble, direct=direct, settings=NO_ATTACHED_STOPS)


# --- fills ---------------------------------------------------------------------------


def test_a_position_that_a_query_for_fills_finds_gets_its_stop_within_500_ms() -> None:
    """Seed 94007: the stop waited for the next tick while the venue answered slowly."""
    out = LeftOut(fills=2)
    ended = play_without_stream(out)
    assert out.fills == 0
    intents = [e for e in ended.of(IntentRecorded) if e.intent.symbol == HELD]
    entry = next(e.intent.client_order_id for e in intents if e.intent.role is OrderRole.ENTRY)
    (filled,) = [e for e in ended.of(FillRecorded) if e.fill.client_order_id == entry]
    stop = next(e for e in intents if e.intent.role is OrderRole.STOP_LOSS)
    assert filled.at_ms > at(2) + 3_000  # the first two lists of fills omitted it
    assert stop.at_ms - filled.at_ms < 500
    assert ended.checked.violations == ()


def test_an_ended_order_is_resolved_by_reading_its_fills_only() -> None:
    """Seed 94007: each query by client order id delayed the stop and found no fill."""
    out = LeftOut(fills=2)
    ended = play_without_stream(out)
    ends = {e.client_order_id: e.at_ms for e in ended.of(OrderClosed)}
    (entry,) = [
        e.intent.client_order_id
        for e in ended.of(IntentRecorded)
        if e.intent.symbol == HELD and e.intent.role is OrderRole.ENTRY
    ]
    assert entry in ends
    assert entry not in out.orders_asked


# --- positions -----------------------------------------------------------------------


async def sell_by_hand(harness: Harness) -> None:
    await harness.until(2.3)
    await harness.tree.port.server_time_ms()
    harness.session.engine.place(
        OrderRequest(
            client_order_id="by-hand",
            symbol=FLAT,
            side=OrderSide.SELL,
            type=OrderType.MARKET,
            quantity=D(3),
        )
    )
    harness.push_events()


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_position_that_an_external_fill_opened_is_adopted_once_a_list_has_it(times: int) -> None:
    """Seed 94331: the one read after an external fill omitted its position."""
    out = LeftOut(positions=times)
    ended = play(out, direct=sell_by_hand, settings=SLOW_CYCLES)
    assert out.positions == 0
    (adopted,) = ended.of(PositionAdopted)
    assert adopted.symbol == FLAT
    assert adopted.at_ms - at(2.3) < 5_000 * times + 2_000
    stop = next(
        e
        for e in ended.of(IntentRecorded)
        if e.intent.symbol == FLAT and e.intent.role is OrderRole.STOP_LOSS
    )
    assert stop.at_ms - adopted.at_ms < 2_000


# --- money ---------------------------------------------------------------------------


async def withdraw(harness: Harness) -> None:
    await harness.until(2.3)
    await harness.tree.port.server_time_ms()
    harness.session.engine.transfer(D(-2_000))


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_withdrawal_that_a_list_omits_does_not_count_as_a_loss(times: int) -> None:
    """Seed 510349: two lists omitted it, and all was closed for a loss of 85 %."""
    out = LeftOut(transfers=times)
    ended = play(out, direct=withdraw)
    assert out.transfers == 0
    assert [e.income.amount for e in ended.of(IncomeRecorded) if e.income.kind == "transfer"] == [
        D(-2_000)
    ]
    assert ended.of(StateChanged) == []
    assert ended.book.day.net_deposits == D(-2_000)


def test_entries_are_denied_while_a_change_of_the_wallet_balance_is_unexplained() -> None:
    out = LeftOut(transfers=1_000)

    async def direct(harness: Harness) -> None:
        await withdraw(harness)
        await harness.until(3.5)
        out.transfers = 0

    ended = play(out, direct=direct)
    granted = [e.at_ms for e in ended.of(PermitGranted)]
    assert granted
    assert not [at_ms for at_ms in granted if at(3) <= at_ms < at(3.5)]


def test_an_unexplained_change_of_the_wallet_balance_counts_as_a_loss_after_20_s() -> None:
    """The waiting time is that of positions, because the change may be a loss."""
    out = LeftOut(transfers=1_000_000)
    ended = play(out, direct=withdraw)
    (first, *_) = ended.of(StateChanged)
    assert first.after is TradingState.FLATTENING
    seen_ms = at(3) + 1_000  # the first cycle after the withdrawal
    assert seen_ms + 20_000 <= first.at_ms <= seen_ms + 40_000


# --- time ----------------------------------------------------------------------------


class NoNewStops(TroubledExchange):
    """A venue that takes attached stops and rejects separate ones."""

    async def _place(self, intent: Intent, attached: tuple[Intent, ...]) -> OrderReport:
        if intent.symbol == HELD and intent.role is OrderRole.STOP_LOSS:
            raise RejectedError("REFUSED", "no separate stops today")
        return await super()._place(intent, attached)


BACK_MS = 8_000


class SetBack(SimulatedClock):
    """Kamou's clock, set back by 8 s while the order manager waits for its next tick."""

    since_ms = at(2.06) + 5_400

    def now_ms(self) -> int:
        true_ms = super().now_ms()
        return true_ms - (BACK_MS if true_ms >= self.since_ms else 0)

    async def sleep_until(self, at_ms: int) -> None:
        await super().sleep_until(at_ms)
        if (left_ms := at_ms - self.now_ms()) > 0:  # it was set back meanwhile
            await super().sleep_until(at_ms + left_ms)


class SteadyVenue(NoNewStops):
    """A venue whose own clock is not set back."""

    def __init__(self, engine: Engine, checks: PortChecks, **more: Any) -> None:
        clock = checks.clock
        assert isinstance(clock, SimulatedClock)
        true = SimulatedClock(start_ms=clock.start_ms, origin_s=clock.origin_s)
        super().__init__(engine, checks, venue_clock=true, **more)

    async def _step(self, to_ms: int) -> None:
        await self.server_time_ms()


async def lose_the_stop(harness: Harness) -> None:
    await harness.until(2.06)
    confirmed = harness.book().trades.open[HELD].confirmed
    assert confirmed is not None
    harness.session.engine.cancel(confirmed.client_order_id)
    harness.push_events()


def test_the_deadline_of_a_stop_does_not_wait_for_a_clock_that_was_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seed 295: the next tick waited for Kamou's clock, which had been set back."""
    monkeypatch.setattr(system_harness, "SimulatedClock", SetBack)
    ended = run_system(
        adapter=partial(SteadyVenue, trouble=Trouble()),
        direct=lose_the_stop,
        settings=SLOW_CYCLES,
        minutes=4,
    )
    closes = {
        e.intent.client_order_id
        for e in ended.of(IntentRecorded)
        if e.intent.symbol == HELD and e.intent.role is OrderRole.EXIT
    }
    assert closes
    (closed, *_) = [f for f in ended.fills if f.client_order_id in closes]
    assert closed.at_ms - at(2.06) < 10_000
    assert [v for v in ended.checked.violations if v.rule == "UNPROTECTED"] == []
