"""Whole simulations: fixed seeds, a fresh seed, and every seed that once failed."""

from __future__ import annotations

import os
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from kamou.actors.followers import StateFollower
from kamou.actors.risk_governor import RiskGovernor
from kamou.exchange.base import GuardedPort
from kamou.simulator import simulation, swarm
from kamou.simulator.crash_injection import StepCounter
from kamou.simulator.faults import FAULT_NAMES, FaultName, parse_faults
from kamou.simulator.scenario import Scenario
from kamou.simulator.swarm import Result, simulate_seed
from kamou.store import database
from kamou.store.permits import JournalPermits

KNOWN = Path(__file__).parent / "seeds" / "known.txt"
FIXED = (1, 2, 3, 4, 6, 7, 8, 9)  # in each of these half an hour has entries


def known() -> list[tuple[Scenario, str]]:
    found = []
    for line in KNOWN.read_text().splitlines():
        if not line.startswith("#"):
            seed, hours, faults, history = (part.strip() for part in line.split("|"))
            scenario = Scenario(seed=int(seed), hours=float(hours), faults=parse_faults(faults))
            found.append((scenario, history))
    return found


def told(result: Result) -> str:
    """Return the seed, the faults and the first three violations of a result."""
    first = "\n".join(str(violation) for violation in result.violations[:3])
    return f"seed {result.scenario.seed}, {','.join(result.on)}\n{first}"


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", FIXED)
def test_every_invariant_holds_in_a_simulation_of_a_fixed_seed(seed: int) -> None:
    result = simulate_seed(Scenario(seed=seed, hours=0.5))
    assert not result.failed, told(result)
    assert result.coverage["entries"] > 0


def test_every_invariant_holds_in_a_simulation_of_a_fresh_seed() -> None:
    """The seed is in the header that pytest prints."""
    result = simulate_seed(Scenario(seed=int(os.environ["KAMOU_FRESH_SEED"]), hours=0.5))
    assert not result.failed, told(result)


@pytest.mark.no_cover
@pytest.mark.parametrize(("scenario", "history"), known())
def test_every_invariant_holds_in_a_seed_that_failed_before(
    scenario: Scenario, history: str
) -> None:
    result = simulate_seed(scenario)
    assert not result.failed, f"{history}\n{told(result)}"


@pytest.mark.parametrize("name", FAULT_NAMES)
def test_every_fault_occurs_and_violates_no_invariant(name: FaultName) -> None:
    faults = frozenset({name})
    scenarios = [Scenario(seed=seed, hours=0.5, faults=faults) for seed in range(20, 24)]
    if name == "stops_rejected":  # a stop has to be lost before another can be rejected
        scenarios = [Scenario(seed=3, faults=faults | {"external_cancel"})]
    for scenario in scenarios:
        result = simulate_seed(scenario)
        assert not result.failed, told(result)
        if result.struck.get(name):
            return
    pytest.fail(f"the fault {name} did not strike in {len(scenarios)} simulations")


def test_a_simulation_without_faults_trades_and_book_and_venue_agree_at_its_end() -> None:
    result = simulate_seed(Scenario(seed=1, hours=1.0, faults=frozenset()))
    assert not result.failed, told(result)
    assert result.coverage["TradeClosed"] >= 10
    assert result.processes == 1
    assert not result.struck


# --- defects that a simulation reports -------------------------------------------------------


def rules(scenarios: list[Scenario]) -> set[str]:
    return {violation.rule for s in scenarios for violation in simulate_seed(s).violations}


def test_the_monitor_reports_an_entry_during_a_halt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StateFollower, "halted", lambda self: False)
    assert "HALTED" in rules([Scenario(seed=6, faults=parse_faults("operator"))])


def test_the_simulation_reports_an_actor_that_loops_while_no_time_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(RiskGovernor, "next_due_ms", lambda actor: actor.clock.now_ms())
    monkeypatch.setattr(simulation, "StepCounter", partial(StepCounter, at_once_max=5_000))
    result = simulate_seed(Scenario(seed=1, hours=0.1, faults=frozenset()))
    assert [(v.rule, v.detail.count("risk_governor")) for v in result.violations] == [("STUCK", 1)]


def test_the_monitor_reports_an_entry_if_permits_are_never_used_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def not_consumed(self: object, approved: object, client_order_id: str) -> None:
        return

    monkeypatch.setattr(JournalPermits, "consume", not_consumed)
    assert "UNPERMITTED" in rules([Scenario(seed=1, hours=0.1, faults=frozenset())])


def test_the_monitor_reports_entries_through_an_exchange_port_without_its_guard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def unguarded(self: GuardedPort, approved: object, intent: Any, attached: Any) -> object:
        return await self._place(intent, attached)

    monkeypatch.setattr(GuardedPort, "submit", unguarded)
    assert "UNPERMITTED" in rules([Scenario(seed=1, hours=0.1, faults=frozenset())])


def test_a_journal_that_does_not_sync_loses_events_in_a_power_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def careless(connection: sqlite3.Connection, *, durable: bool) -> None:
        connection.execute(f"PRAGMA synchronous = {'NORMAL' if durable else 'OFF'}")

    monkeypatch.setattr(database, "set_durable", careless)
    faults = parse_faults("power_cut")
    assert "LOST" in rules([Scenario(seed=seed, faults=faults) for seed in (1, 2)])


def test_a_swarm_names_the_faults_entries_fills_and_orders_that_never_occurred() -> None:
    result = simulate_seed(Scenario(seed=1, hours=1.0, faults=parse_faults("partial_fills")))
    idle = attrs.evolve(result, coverage={}, struck={})
    assert set(swarm.find_missing([idle, idle])) == {
        "fault partial_fills",
        "entries",
        "fills",
        "orders",
    }
    assert swarm.find_missing([idle, result]) == ()
    assert "fault partial_fills" not in swarm.find_missing(
        [idle]
    )  # one simulation need not have every event
