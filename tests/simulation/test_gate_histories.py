"""Histories lead to the changes that they are made for, and each false change is reported."""

from __future__ import annotations

import functools
from decimal import Decimal
from random import Random
from typing import Any

import attrs
import pytest

from kamou.core.book.gate_events import GateChanged
from kamou.core.book.position_book import PositionBook
from kamou.core.day import DAY_MS
from kamou.core.kinds import GateReason, GateState
from kamou.core.model import Figure
from kamou.core.record import demotion
from kamou.core.record.gate_record import gather_record
from kamou.core.record.gate_transitions import GateRules, find_transition, hash_trades, look_at
from kamou.simulator.chaos import Chaos
from kamou.simulator.faults import FaultName
from kamou.simulator.gate_histories import GateHistory, HistoryFate, make_history
from kamou.simulator.settings import SETTINGS
from kamou.simulator.shadow_records import make_gate
from kamou.venue.violations import HardRule
from tests.exchange.port_fakes import plan_of
from tests.simulation.stories import NONE, Story, begin
from tests.venue.venue_orders import at

D = Decimal
F = HistoryFate
NAME = plan_of().strategy
SEEDS = (1, 2)

CHANGES: dict[HistoryFate, tuple[list[str], list[str]]] = {
    F.IS_LIVE: (["canary_earned", "live_earned"], []),
    F.BECOMES_LIVE: (["canary_earned"], ["live_earned"]),
    F.MISSES_LIVE: (["canary_earned"], []),
    F.FEW_CLOSES: (["canary_earned"], []),
    F.FALLS_SHORT: (["canary_earned"], []),
    F.LIVE_FALLS: (["canary_earned", "live_earned"], ["drawdown"]),
    F.LIVE_FAILS: (["canary_earned", "live_earned"], ["cusum"]),
    F.LIVE_RUINED: (["canary_earned", "live_earned"], ["ruin"]),
    F.LIVE_HALVES: (["canary_earned", "live_earned"], ["rolling_mean"]),
    F.GROWS: (["canary_earned"], ["rolling_mean"]),
    F.EARNS_AGAIN: (["canary_earned", "cusum"], ["canary_earned"]),
    F.FAILS_AGAIN: (["canary_earned", "cusum"], []),
}
"""Reasons of the changes until the first look of a simulation, and after its closes."""


@pytest.fixture(autouse=True)
def _few_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demotion, "RESAMPLED_PATHS", 500)


@attrs.define
class Told:
    """A story of a strategy with a history, and the book of its events."""

    history: GateHistory
    story: Story
    book: PositionBook = attrs.field(factory=PositionBook)
    reasons: list[str] = attrs.field(factory=list)

    def commit(self, *events: Any) -> None:
        self.story.commit(*events)
        for event in events:
            self.book.apply(self.book.seq + 1, event)
            if isinstance(event, GateChanged):
                self.reasons.append(event.reason)

    def find(self, at_ms: int) -> GateChanged | None:
        gate = self.book.gate.find(NAME)
        return find_transition(gather_record(self.book, NAME), gate, at_ms, GateRules())

    def look(self, at_ms: int) -> None:
        """Commit the changes that are due."""
        while (change := self.find(at_ms)) is not None:
            self.commit(change)

    def close(self) -> None:
        self.commit(self.history.later_event())

    @property
    def rules(self) -> list[HardRule]:
        return self.story.rules


@functools.cache
def known(seed: int, fate: HistoryFate) -> GateHistory:
    return make_history(Random(seed), NAME, fate, at(0), at(30))


def tell(fate: HistoryFate, seed: int = 1) -> Told:
    """Return a story with the past of a history, and the changes of the first look."""
    story = begin()
    story.monitor.sizes.earned = True
    told = Told(known(seed, fate), story)
    told.commit(*told.history.past_events())
    told.look(at(1))
    assert told.rules == NONE
    return told


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fate", HistoryFate)
def test_a_history_leads_to_its_changes_and_each_follows_from_the_trades(
    fate: HistoryFate, seed: int
) -> None:
    told = tell(fate, seed)
    before = list(told.reasons)
    told.close()
    told.look(at(31))
    assert (before, told.reasons[len(before) :]) == CHANGES[fate]
    told.story.monitor.sizes.check_end({NAME: fate.end})
    assert told.rules == NONE


def test_every_fate_of_a_history_is_drawn_and_the_first_strategy_may_trade() -> None:
    drawn = set()
    for seed in range(60):
        chaos = Chaos(
            seed, [FaultName.GATE_HISTORY], start_ms=at(0), end_ms=at(60), convergence_ms=at(60)
        )
        first, *others = make_gate(chaos, SETTINGS, at(0), at(60)).records
        assert isinstance(first, GateHistory)
        assert first.fate not in (F.EARNS_AGAIN, F.FAILS_AGAIN)
        drawn |= {each.fate for each in (first, *others)}
    assert drawn == set(HistoryFate)


# --- sizes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fate", "closed", "most"),
    # All of 15 % of 10,000 USDT, or half or a quarter of it, with 5 % tolerance, at 10 USDT.
    [(F.IS_LIVE, False, 157), (F.LIVE_HALVES, True, 78), (F.MISSES_LIVE, False, 39)],
)
def test_a_position_above_the_share_of_its_state_is_reported(
    fate: HistoryFate, closed: bool, most: int
) -> None:
    for contracts, found in ((most, NONE), (most + 1, [HardRule.UNEARNED])):
        told = tell(fate)
        if closed:
            told.close()
            told.look(at(31))
        plan = plan_of(quantity=D(contracts))
        told.story.grant(plan)
        told.story.fill_entry(plan)
        told.story.look()
        assert [rule for rule in told.rules if rule is HardRule.UNEARNED] == found


@pytest.mark.parametrize("fate", [F.LIVE_FALLS, F.LIVE_FAILS, F.LIVE_RUINED, F.FAILS_AGAIN])
def test_a_permit_after_a_demotion_or_a_halt_is_reported(fate: HistoryFate) -> None:
    told = tell(fate)
    told.close()
    told.look(at(31))
    told.story.grant(plan_of())
    assert told.rules == [HardRule.UNEARNED]


# --- changes ----------------------------------------------------------------------


def make_due(fate: HistoryFate) -> tuple[Told, GateChanged]:
    """Return a story and the change that its closes make."""
    told = tell(fate)
    told.close()
    change = told.find(at(31))
    assert change is not None
    return told, change


def with_figure(change: GateChanged, name: str, value: str) -> GateChanged:
    """Return the change with another value of one figure."""
    assert name in {each.name for each in change.figures}
    figures = (
        Figure(name=f.name, value=value if f.name == name else f.value) for f in change.figures
    )
    return attrs.evolve(change, figures=tuple(figures))


@pytest.mark.parametrize(
    ("fate", "name", "value"),
    [
        (F.BECOMES_LIVE, "e_value_blocks", "121"),
        (F.BECOMES_LIVE, "threshold", "20"),
        (F.BECOMES_LIVE, "canary_closes", "31"),
        (F.BECOMES_LIVE, "shortfall", "0.019"),
        (F.EARNS_AGAIN, "threshold", "20"),
        (F.EARNS_AGAIN, "blocks", "14"),
        (F.EARNS_AGAIN, "symbols", "10"),
        (F.EARNS_AGAIN, "sharpe", "0.6"),
        (F.EARNS_AGAIN, "usd_per_100", "2"),
        (F.LIVE_FAILS, "cusum", "100"),
        (F.LIVE_FAILS, "threshold", "1"),
        (F.LIVE_FALLS, "drawdown", "100"),
        (F.LIVE_FALLS, "threshold", "no number"),
        (F.LIVE_HALVES, "rolling_mean", "-1"),
    ],
)
def test_a_statistic_or_threshold_that_does_not_follow_is_reported(
    fate: HistoryFate, name: str, value: str
) -> None:
    told, change = make_due(fate)
    told.story.commit(with_figure(change, name, value))
    assert told.rules == [HardRule.TRANSITION]
    assert f"{name} {value!r} instead of" in told.story.monitor.found[0].detail


def test_a_change_without_its_figures_is_reported() -> None:
    told, change = make_due(F.LIVE_HALVES)
    told.story.commit(attrs.evolve(change, figures=()))
    assert told.rules == [HardRule.TRANSITION]


def test_limits_and_a_cooldown_that_do_not_follow_are_reported() -> None:
    _, earned = make_due(F.EARNS_AGAIN)
    assert earned.limits is not None
    for fate, wrong in (
        (F.EARNS_AGAIN, {"limits": None}),
        (F.EARNS_AGAIN, {"limits": attrs.evolve(earned.limits, reference_mean=D(9))}),
        (F.EARNS_AGAIN, {"limits": attrs.evolve(earned.limits, drawdown=D(-1))}),
        (F.BECOMES_LIVE, {"limits": None}),
        (F.LIVE_FAILS, {"limits": earned.limits}),
        (F.LIVE_FAILS, {"not_before_ms": at(31) + 7 * DAY_MS - 1}),
        (F.LIVE_FAILS, {"attempt": 1}),
    ):
        told, change = make_due(fate)
        told.story.commit(attrs.evolve(change, **wrong))
        assert told.rules == [HardRule.TRANSITION], (fate, wrong)


@pytest.mark.parametrize("fate", [F.MISSES_LIVE, F.FEW_CLOSES, F.FALLS_SHORT])
def test_a_promotion_to_live_that_one_condition_forbids_is_reported(fate: HistoryFate) -> None:
    told = tell(fate)
    told.close()
    gate, record = told.book.gate.find(NAME), gather_record(told.book, NAME)
    look = look_at(record, gate, at(31), GateRules())
    assert len(look.live_lacks) == 1
    _, live = make_due(F.BECOMES_LIVE)
    told.story.commit(
        attrs.evolve(
            live,
            number=gate.changes + 1,
            counted=len(look.counted),
            data_hash=hash_trades(look.counted),
            limits=gate.limits,
        )
    )
    assert told.rules == [HardRule.TRANSITION]
    assert f"{GateReason.LIVE_EARNED} is not due" in told.story.monitor.found[0].detail


def test_a_second_attempt_that_is_promoted_at_the_e_value_of_the_first_is_reported() -> None:
    told, due = tell(F.FAILS_AGAIN), make_due(F.EARNS_AGAIN)[1]
    told.close()
    gate, record = told.book.gate.find(NAME), gather_record(told.book, NAME)
    look = look_at(record, gate, at(31), GateRules())
    assert 20 < look.evaluation.e_value_blocks < 40
    told.story.commit(
        attrs.evolve(
            due,
            from_ms=gate.from_ms,
            counted=len(look.counted),
            data_hash=hash_trades(look.counted),
        )
    )
    assert told.rules == [HardRule.TRANSITION]
    assert f"{GateReason.CANARY_EARNED} is not due" in told.story.monitor.found[0].detail


@pytest.mark.parametrize("fate", [F.BECOMES_LIVE, F.LIVE_HALVES, F.EARNS_AGAIN, F.LIVE_FALLS])
def test_a_change_that_never_comes_is_reported_at_the_end(fate: HistoryFate) -> None:
    told = tell(fate)
    told.close()
    told.story.monitor.sizes.check_end({NAME: fate.end})
    assert told.rules == [HardRule.TRANSITION]


def test_a_canary_result_counts_with_its_newest_r_and_only_while_it_is_a_canary() -> None:
    told = tell(F.BECOMES_LIVE)
    sizes = told.story.monitor.sizes
    assert sizes.gate(NAME).state is GateState.CANARY
    told.close()
    closes = told.book.gate.closes[NAME]
    assert len(closes) == 30
    told.look(at(31))
    assert told.reasons[-1] == GateReason.LIVE_EARNED
    assert told.rules == NONE
