"""Days of the generated market that another thread makes equal those of the loop's thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import attrs
import numpy as np
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from kamou.actors.exchange import MADE_AHEAD_MS, ExchangeActor
from kamou.clock import SimulatedClock
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.data_directory.folder import MEMORY
from kamou.exchange.base import PortChecks
from kamou.exchange.embedded import SimulatedExchange
from kamou.runtime.mailboxes import Mailbox
from kamou.runtime.runners import Runner, make_thread_runner, run_inline
from kamou.settings.config import load_settings
from kamou.venue.engine import Engine
from kamou.venue.market import generator
from kamou.venue.market.day_cache import DAYS_HELD
from kamou.venue.market.generated_day import run_day
from kamou.venue.market.generator import GeneratedMarket
from kamou.venue.market.market import MadeInDays
from kamou.venue.models import VenueModels
from kamou.venue.store import VenueStore
from tests.exchange.port_fakes import Latch, LeapClock, Permits, Proofs

ORIGIN_MS = 1_735_689_600_000
STEP_MS = 300_000
D = Decimal


def market() -> GeneratedMarket:
    return GeneratedMarket(seed=5, origin_ms=ORIGIN_MS, symbols=6)


MARKET = market()


def same(left: Any, right: Any) -> bool:
    return all(
        np.array_equal(getattr(left, field.name), getattr(right, field.name), equal_nan=True)
        for field in attrs.fields(type(left))
        if isinstance(getattr(left, field.name), np.ndarray)
    )


def port_at(source: GeneratedMarket, now_ms: int, runner: Runner = run_inline) -> SimulatedExchange:
    given_ = load_settings(None, {}).settings
    engine = Engine(
        source,
        VenueModels.from_settings(given_.exchange, given_.costs),
        VenueStore(MEMORY),
        start_ms=now_ms,
        wallet_balance=D(10_000),
    )
    return SimulatedExchange(
        engine,
        PortChecks(
            clock=LeapClock(now_ms),
            permits=Permits(),
            halted=Latch(),
            journal_proof=Proofs().commit,
        ),
        runner=runner,
    )


class Makers:
    """A record of which thread makes which day."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.made: list[tuple[int, bool]] = []  # day, whether by the loop's thread
        self._loop = threading.get_ident()
        advance: Callable[..., Any] = run_day

        def noted(universe: Any, paths: Any, seed: int, day: int, *rest: Any) -> Any:
            self.made.append((day, threading.get_ident() == self._loop))
            return advance(universe, paths, seed, day, *rest)

        patch.setattr(generator, "run_day", noted)


def frozen(source: GeneratedMarket) -> None:
    """Make all arrays that a twin shares read-only, so that a write raises ValueError."""
    shared: list[Any] = [source.universe, *source.states._held.values()]
    for name in generator._CACHES:
        shared += getattr(source, name).values()
    for each in shared:
        values = [each] if isinstance(each, np.ndarray) else attrs.asdict(each, recurse=False)
        for value in values if isinstance(values, list) else values.values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False


def test_the_generated_market_implements_made_in_days() -> None:
    assert isinstance(MARKET, MadeInDays)


@settings(max_examples=20)
@given(
    first=st.lists(st.integers(0, 9), max_size=6),
    later=st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=1, max_size=8),
)
def test_a_twin_and_its_market_stay_equal_whatever_is_read_from_each(
    first: list[int], later: list[tuple[bool, int]]
) -> None:
    source = market()
    for day in first:
        source.make_day(ORIGIN_MS + day * DAY_MS)
    twin = source.twin()
    frozen(source)
    for of_twin, day in later:
        asked = twin if of_twin else source
        at = ORIGIN_MS + day * DAY_MS + 7_777_777
        assert same(asked.day(day), MARKET.day(day))
        assert same(asked.segment(at, at + DAY_MS), MARKET.segment(at, at + DAY_MS))
        assert same(asked.open_interest(at, at + DAY_MS), MARKET.open_interest(at, at + DAY_MS))
    source.adopt_day(ORIGIN_MS + 4 * DAY_MS, made(source, 4))
    assert same(source.day(4), MARKET.day(4))
    assert len(source._days) <= DAYS_HELD


def made(source: GeneratedMarket, day: int) -> GeneratedMarket:
    twin = source.twin()
    twin.make_day(ORIGIN_MS + day * DAY_MS)
    return twin


def test_a_twin_read_on_a_thread_and_its_market_read_meanwhile_equal_a_market_read_alone() -> None:
    """Both threads read as fast as they can; the worker reads two weeks, forwards and back."""
    source = market()
    source.make_day(ORIGIN_MS + 14 * DAY_MS)
    frozen(source)
    twin = source.twin()
    errors: list[BaseException] = []

    def thread() -> None:
        try:
            for day in [*range(14), *range(13, -1, -1)]:
                since_ms = ORIGIN_MS + day * DAY_MS
                read = twin.bars(STEP_MS, since_ms, since_ms + DAY_MS)
                assert same(read, expected[day])
        except BaseException as error:
            errors.append(error)

    other = market()
    expected = [
        other.bars(STEP_MS, ORIGIN_MS + day * DAY_MS, ORIGIN_MS + (day + 1) * DAY_MS)
        for day in range(14)
    ]
    worker = threading.Thread(target=thread)
    worker.start()
    at_ms = ORIGIN_MS + 14 * DAY_MS
    while worker.is_alive():
        at_ms += 61_000
        assert np.array_equal(source.prices(at_ms), MARKET.prices(at_ms), equal_nan=True)
        assert same(source.segment(at_ms - 61_000, at_ms), MARKET.segment(at_ms - 61_000, at_ms))
    worker.join()
    assert errors == []


def test_the_loop_makes_no_day_for_a_read_of_the_past(monkeypatch: pytest.MonkeyPatch) -> None:
    source = market()
    now_ms = ORIGIN_MS + 9 * DAY_MS + HOUR_MS
    held: list[list[int]] = []

    async def read(runner: Runner) -> list[Any]:
        port = port_at(source, now_ms, runner)
        await port.catch_up(now_ms)
        held.append(list(source._days))
        found: list[Any] = []
        for day in range(8):
            since_ms = ORIGIN_MS + day * DAY_MS
            found.append(await port.bars(STEP_MS, since_ms, since_ms + DAY_MS))
            found.append(await port.open_interest(since_ms, since_ms + DAY_MS))
            found.append(await port.funding_rates(since_ms, since_ms + DAY_MS))
            found.append(await port.flow_windows(since_ms, since_ms + DAY_MS))
            await port.marks_at(source.symbols, since_ms)
        held.append(list(source._days))
        return found

    async def main() -> list[Any]:
        makers = Makers(monkeypatch)
        found = await read(make_thread_runner())
        assert {day for day, _ in makers.made} == set(range(10))
        assert not any(on_loop for _, on_loop in makers.made)
        return found

    on_a_thread = trio.run(main)
    assert held[0] == held[1], "reads of the past drop no day that the engine needs"
    source = market()
    for one, other in zip(on_a_thread, trio.run(read, run_inline), strict=True):
        assert same(one, other)


async def test_a_catch_up_over_missed_days_steps_at_most_a_day_and_makes_days_on_another_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = market()
    port = port_at(source, ORIGIN_MS + 3 * DAY_MS + HOUR_MS, make_thread_runner())
    steps: list[int] = []
    step = port._step

    async def noted(to_ms: int) -> None:
        steps.append(to_ms - port.engine.market_ms)
        await step(to_ms)

    monkeypatch.setattr(port, "_step", noted)
    makers = Makers(monkeypatch)
    await port.catch_up(ORIGIN_MS + 7 * DAY_MS + HOUR_MS)
    assert port.engine.market_ms == ORIGIN_MS + 7 * DAY_MS + HOUR_MS
    assert len(steps) == 5
    assert max(steps) <= DAY_MS
    source.segment(port.engine.market_ms - 3 * HOUR_MS, port.engine.market_ms)
    assert makers.made
    assert not any(on_loop for _, on_loop in makers.made)


async def test_the_next_day_is_generated_before_midnight(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = market()
    midnight_at_ms = ORIGIN_MS + 6 * DAY_MS
    clock = SimulatedClock(start_ms=midnight_at_ms - 3 * HOUR_MS)
    port = port_at(source, clock.now_ms())
    box: Mailbox[Any] = Mailbox("orders", 4, now_ms=clock.now_ms)
    actor = ExchangeActor(port=port, clock=clock, step_ms=60_000, orders=box, reconciler=box)
    makers = Makers(monkeypatch)
    async with trio.open_nursery() as nursery:
        await nursery.start(actor.run)
        await clock.sleep_until(midnight_at_ms - MADE_AHEAD_MS - 1)
        assert 6 not in {day for day, _ in makers.made}
        await clock.sleep_until(midnight_at_ms - MADE_AHEAD_MS + 1)
        assert 6 in {day for day, _ in makers.made}
        expected = MARKET.day(6)
        makers.made.clear()
        await clock.sleep_until(midnight_at_ms + 2 * HOUR_MS)
        source.segment(midnight_at_ms - STEP_MS, midnight_at_ms + HOUR_MS)
        assert same(source.day(6), expected)
        assert makers.made == [], "no day was made at midnight and in the two hours after it"
        nursery.cancel_scope.cancel()


async def test_a_twin_is_dropped_after_three_minutes_without_a_read_of_the_past(
    autojump_clock: MockClock,
) -> None:
    port = port_at(market(), ORIGIN_MS + 9 * DAY_MS)
    await port.bars(STEP_MS, ORIGIN_MS, ORIGIN_MS + DAY_MS)
    assert port._answers.twin is not None
    for minute in range(1, 4):
        await port.step(ORIGIN_MS + 9 * DAY_MS + minute * 60_000)
    assert port._answers.twin is None
