"""Answers of sources inside of ``bad_sources``, and the sources of the simulated market."""

from __future__ import annotations

import numpy as np
import pytest
import trio

from kamou.clock import JumpClock, SimulatedClock
from kamou.core.arrays import Floats
from kamou.core.day import HOUR_MS, MINUTE_MS
from kamou.core.market.bars import Series
from kamou.core.market.flow import FLOW_WINDOW_MS, FlowWindows
from kamou.simulator.chaos import Chaos
from kamou.simulator.faults import FaultName
from kamou.simulator.faulty_answers import SOURCE_STALE_MS, FaultyAnswers, SourceDamage
from kamou.simulator.market import MarketSettings, SimulatedMarket
from kamou.simulator.scenario import Scenario
from kamou.simulator.settings import MORE_STRATEGIES, SETTINGS, apply_faults
from kamou.simulator.simulation import NOON_MS
from kamou.simulator.swarm import simulate_seed
from kamou.venue.engine import Engine
from kamou.venue.models import VenueModels
from kamou.venue.store import VenueStore

FIRST_MS, LAST_MS = NOON_MS - 10 * HOUR_MS, NOON_MS + HOUR_MS
SOURCES = ("open_interest", "funding_rates", "long_short_ratios", "premium_index", "flow_windows")


class Always(Chaos):
    """Faults whose windows never end."""

    def inside(self, name: FaultName, now_ms: int) -> tuple[int, int] | None:
        return (now_ms, LAST_MS) if name in self.on else None


def make_market(*, all_sources: bool = True) -> SimulatedMarket:
    return SimulatedMarket(
        seed=1,
        first_ms=FIRST_MS,
        last_ms=LAST_MS,
        symbols=3,
        settings=MarketSettings(all_sources=all_sources),
        freeze_ms=LAST_MS,
    )


def times_and_values(found: Series | FlowWindows) -> tuple[list[int], Floats]:
    times = found.end_ms if isinstance(found, FlowWindows) else found.available_ms
    return times.tolist(), found.values


def read(source: str, *, faults: tuple[FaultName, ...], draws: int) -> list[Series | FlowWindows]:
    """Return so many answers with the whole past at noon."""
    chaos = Always(1, faults, start_ms=NOON_MS, end_ms=LAST_MS, convergence_ms=LAST_MS)
    market = make_market()
    engine = Engine(
        market,
        VenueModels.from_settings(SETTINGS.exchange, SETTINGS.costs),
        VenueStore(":memory:"),
        start_ms=NOON_MS,
        wallet_balance=SETTINGS.equity,
    )
    answers = FaultyAnswers(engine, chaos, SimulatedClock(start_ms=NOON_MS))

    async def ask() -> list[Series | FlowWindows]:
        return [await getattr(answers, source)(FIRST_MS, NOON_MS) for _ in range(draws)]

    return trio.run(ask, clock=JumpClock())


@pytest.mark.parametrize("source", SOURCES)
def test_a_bad_source_has_each_damage_and_a_good_one_has_none(source: str) -> None:
    (good,) = read(source, faults=(), draws=1)
    times, values = times_and_values(good)
    assert len(times) >= 9
    assert np.isfinite(values).all()
    kinds = set()
    for found in read(source, faults=(FaultName.BAD_SOURCES,), draws=40):
        seen, damaged = times_and_values(found)
        if not seen:
            kinds.add(SourceDamage.MISSING)
        elif len(seen) < len(times):
            assert max(seen) <= NOON_MS - SOURCE_STALE_MS
            kinds.add(SourceDamage.STALE)
        elif np.isnan(damaged).all():
            kinds.add(SourceDamage.NOT_A_NUMBER)
        else:
            np.testing.assert_allclose(damaged, 100.0 * values)
            kinds.add(SourceDamage.OTHER_UNIT)
    assert kinds == set(SourceDamage)


@pytest.mark.parametrize("source", SOURCES)
def test_a_market_answers_a_period_with_the_observations_that_are_known_in_it(source: str) -> None:
    ask = getattr(make_market(), source)
    times, values = times_and_values(ask(FIRST_MS, NOON_MS))
    step_ms = FLOW_WINDOW_MS if source == "flow_windows" else HOUR_MS
    assert set(np.diff(times)) == {step_ms}
    for since_ms, until_ms in (
        (NOON_MS - HOUR_MS, NOON_MS),
        (NOON_MS - 3 * HOUR_MS - 1, NOON_MS - MINUTE_MS),
        (NOON_MS, NOON_MS),
    ):
        part, rows = times_and_values(ask(since_ms, until_ms))
        kept = [number for number, at_ms in enumerate(times) if since_ms < at_ms <= until_ms]
        assert part == [times[number] for number in kept]
        np.testing.assert_array_equal(rows, values[kept])


def test_a_market_without_all_sources_has_no_ratios_and_no_order_flow() -> None:
    market = make_market(all_sources=False)
    assert not len(market.long_short_ratios(FIRST_MS, NOON_MS).available_ms)
    assert not len(market.flow_windows(FIRST_MS, NOON_MS).end_ms)


def test_all_strategies_and_vetoes_are_those_of_a_run() -> None:
    faults = frozenset({FaultName.ALL_STRATEGIES, FaultName.ALL_VETOES})
    settings = apply_faults(SETTINGS, faults, 1)
    assert set(settings.strategies.enabled) == set(type(settings)().strategies.enabled)
    assert settings.veto.enabled == type(settings)().veto.enabled
    assert apply_faults(SETTINGS, frozenset(), 1) == SETTINGS


def test_strategies_abstain_with_a_reason_when_their_sources_are_bad() -> None:
    faults = frozenset({FaultName.ALL_STRATEGIES, FaultName.BAD_SOURCES})
    quiet = simulate_seed(Scenario(seed=1, hours=0.3, faults=frozenset({FaultName.ALL_STRATEGIES})))
    bad = simulate_seed(Scenario(seed=1, hours=0.3, faults=faults))
    assert not quiet.failed
    assert not bad.failed
    assert all(quiet.coverage[f"signals {name}"] for name in MORE_STRATEGIES)
    without = {name for name in quiet.coverage if ".SOURCE_" in name}
    assert {name for name in bad.coverage if ".SOURCE_" in name} > without
