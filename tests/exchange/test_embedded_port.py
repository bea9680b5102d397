"""The exchange port of the embedded venue: its contract, and its own rules."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from kamou.core.book.updates import FillUpdate
from kamou.core.day import HOUR_MS
from kamou.core.model import OrderStatus
from kamou.errors import DiskFullError, InvalidPermitError, RejectedError, UnknownOutcomeError
from kamou.exchange import embedded
from kamou.exchange.base import GuardedPort, PortChecks
from kamou.exchange.embedded import ReplayedExchange, SimulatedExchange
from kamou.venue.engine import Engine
from kamou.venue.models import ConstantLatency, VenueModels
from kamou.venue.store import VenueStore
from tests.exchange.contract import PortContract, VenueUnderTest
from tests.exchange.port_fakes import (
    Latch,
    LeapClock,
    Permits,
    Proofs,
    approve,
    close_of,
    intents_of,
    plan_of,
)
from tests.venue.memory_market import MemoryMarket, with_bars
from tests.venue.venue_orders import EXACT, at, engine_at

D = Decimal
LATENCY_MS = ConstantLatency().latency_ms


@attrs.define(kw_only=True)
class EmbeddedUnderTest(VenueUnderTest):
    """The embedded venue's port under test, with the methods that only this port has."""

    port: SimulatedExchange


def venue_on(
    market: MemoryMarket,
    *,
    attached_stop: bool = True,
    models: VenueModels = EXACT,
    adapter: type[SimulatedExchange] = SimulatedExchange,
) -> EmbeddedUnderTest:
    permits, proofs, latch = Permits(), Proofs(), Latch()
    clock = LeapClock(at(4))
    port = adapter(
        engine_at(market, models=models),
        PortChecks(
            clock=clock,
            permits=permits,
            halted=latch,
            journal_proof=proofs.commit,
        ),
        attached_stop=attached_stop,
    )
    return EmbeddedUnderTest(port=port, clock=clock, permits=permits, proofs=proofs, halted=latch)


def contract_market() -> MemoryMarket:
    return MemoryMarket(
        {"AAA": with_bars(after=200), "BBB": with_bars(after=200)},
        half_spread_bps=2,
        funding={at(0) + 8 * HOUR_MS: 0.0001},
    )


class TestSimulatedExchange(PortContract):
    @pytest.fixture
    def venue(self) -> EmbeddedUnderTest:
        return venue_on(contract_market())


class TestReplayedExchange(PortContract):
    @pytest.fixture
    def venue(self) -> EmbeddedUnderTest:
        return venue_on(contract_market(), adapter=ReplayedExchange)


@pytest.mark.parametrize("adapter", [SimulatedExchange, ReplayedExchange])
async def test_a_read_of_a_canceled_task_raises_trios_cancelled(
    adapter: type[SimulatedExchange],
) -> None:
    port = venue_on(contract_market(), adapter=adapter).port
    with trio.CancelScope() as scope:
        scope.cancel()
        await port.account()
    assert scope.cancelled_caught


class _Turns(trio.abc.Instrument):
    """A count of the steps that tasks have taken."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, _task: trio.lowlevel.Task) -> None:
        self.count += 1


async def test_a_read_yields_once_on_a_simulated_exchange_and_never_on_a_replayed_one() -> None:
    turns: dict[str, int] = {}
    for adapter in (SimulatedExchange, ReplayedExchange):
        port, seen = venue_on(contract_market(), adapter=adapter).port, _Turns()
        trio.lowlevel.add_instrument(seen)
        await port.account()
        trio.lowlevel.remove_instrument(seen)
        turns[adapter.__name__] = seen.count
    assert turns == {"SimulatedExchange": 1, "ReplayedExchange": 0}


@pytest.fixture
def venue() -> EmbeddedUnderTest:
    return venue_on(MemoryMarket({"AAA": with_bars((100, 100, 97, 97, 1000), before=4)}))


@pytest.mark.parametrize("name", ["submit", "reduce"])
def test_an_adapter_that_overrides_submit_or_reduce_cannot_be_defined(name: str) -> None:
    with pytest.raises(TypeError, match=f"overrides {name}"):
        type("Loose", (GuardedPort,), {name: lambda self: None})


async def test_an_order_acts_after_its_latency_and_is_answered_then(
    venue: EmbeddedUnderTest,
) -> None:
    sent_ms = venue.clock.now_ms()
    order = await venue.enter()
    assert venue.clock.now_ms() == sent_ms + LATENCY_MS
    assert order.created_at_ms == sent_ms + LATENCY_MS


async def test_a_response_or_a_rejection_arrives_its_own_latency_after_the_effect() -> None:
    latency = ConstantLatency(latency_ms=40, response_ms=70)
    market = MemoryMarket({"AAA": with_bars()})
    venue = venue_on(market, models=attrs.evolve(EXACT, latency=latency))
    sent_ms = venue.clock.now_ms()
    order = await venue.enter()
    assert order.created_at_ms == sent_ms + 40
    assert venue.clock.now_ms() == sent_ms + 110
    with pytest.raises(RejectedError):
        await venue.port.cancel("never", "AAA")
    assert venue.clock.now_ms() == sent_ms + 220


async def test_a_canceled_submit_uses_up_its_permit_and_sends_no_order(
    venue: EmbeddedUnderTest,
) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await venue.enter()
    assert venue.permits.committed[plan_of().permit_id] != ""
    assert await venue.port.fills(0) == ()
    assert await venue.port.open_orders() == ()


async def test_a_step_moves_the_market_and_pushes_updates(venue: EmbeddedUnderTest) -> None:
    await venue.enter()
    events = venue.port.events()
    while events.statistics().current_buffer_used:
        events.receive_nowait()
    await venue.port.step(at(5))
    pushed = [events.receive_nowait() for _ in range(events.statistics().current_buffer_used)]
    assert [e.fill.price for e in pushed if isinstance(e, FillUpdate)] == [D("98")]
    assert await venue.port.positions() == ()


async def test_a_halt_latch_set_while_the_permit_commits_still_stops_the_entry(
    venue: EmbeddedUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of()
    approved = venue.permit(plan)
    entry, attached = intents_of(plan, venue.clock.now_ms())
    commit = venue.permits.consume

    async def slow(*args: Any) -> None:
        await commit(*args)
        venue.halted.closed = True

    monkeypatch.setattr(venue.permits, "consume", slow)
    with pytest.raises(InvalidPermitError, match="HALT_LATCHED"):
        await venue.port.submit(approved, entry, attached)
    assert await venue.port.fills(0) == ()


async def test_a_step_reports_an_overflow_of_the_unread_stream_once_and_no_order_is_blocked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedded, "EVENTS_MAX", 2)
    venue = venue_on(MemoryMarket({"AAA": with_bars()}))
    await venue.enter()
    now_ms = venue.clock.now_ms()
    assert [await venue.port.step(now_ms) for _ in range(2)] == [True, False]


async def test_a_port_without_attached_stops_denies_them_and_submits_an_entry_alone() -> None:
    venue = venue_on(MemoryMarket({"AAA": with_bars()}), attached_stop=False)
    plan = plan_of()
    entry, attached = intents_of(plan, venue.clock.now_ms())
    approved = venue.permit(plan)
    with pytest.raises(InvalidPermitError, match="ATTACHED_UNSUPPORTED"):
        await venue.port.submit(approved, entry, attached)
    assert (await venue.port.submit(approved, entry)).status is OrderStatus.FILLED


async def test_an_order_or_cancel_that_the_venue_could_not_store_has_an_unknown_outcome(
    venue: EmbeddedUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(state: object) -> None:
        raise DiskFullError("full")

    monkeypatch.setattr(venue.port.engine._store, "save", full)
    with pytest.raises(UnknownOutcomeError):
        await venue.enter()
    monkeypatch.undo()
    stop = next(o for o in await venue.port.open_orders() if o.trigger_price)
    monkeypatch.setattr(venue.port.engine._store, "save", full)
    with pytest.raises(UnknownOutcomeError):
        await venue.port.cancel(stop.client_order_id, "AAA")


async def test_a_step_reports_fills_of_another_process(tmp_path: Path) -> None:
    market = MemoryMarket({"AAA": with_bars()})
    store = VenueStore(tmp_path / "venue.db", durable=False)
    clock = LeapClock(at(4))
    permits = Permits()
    port = SimulatedExchange(
        engine_at(market, store=store),
        PortChecks(
            clock=clock,
            permits=permits,
            halted=Latch(),
            journal_proof=Proofs().commit,
        ),
    )
    plan = plan_of()
    permits.committed[plan.permit_id] = ""
    approved = approve(plan, clock.now_ms() + 1000)
    await port.submit(approved, *intents_of(plan, clock.now_ms()))
    other = Engine(
        market, EXACT, VenueStore(tmp_path / "venue.db"), start_ms=0, wallet_balance=D(1)
    )
    other.place(embedded.make_order_request(close_of(100)))
    await clock.sleep_until(at(4, 1_000))
    assert await port.positions() == ()
    assert await port.step(clock.now_ms())
    other.close()
    port.engine.close()


async def test_a_market_without_long_short_ratios_or_premium_index_serves_an_empty_series(
    venue: EmbeddedUnderTest,
) -> None:
    assert not len((await venue.port.premium_index(0, at(99))).available_ms)
    assert not len((await venue.port.long_short_ratios(0, at(99))).available_ms)
