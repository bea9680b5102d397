"""The monitor reports sizes that are not earned and wrong changes, and nothing next to them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest

from kamou.core.book.gate_events import DemotionLimits, GateChanged
from kamou.core.book.gate_states import StrategyGate
from kamou.core.book.position_book import PositionBook
from kamou.core.day import DAY_MS
from kamou.core.kinds import GateReason, GateState
from kamou.core.record import demotion
from kamou.core.record.gate_record import gather_record
from kamou.core.record.gate_transitions import GateRules, find_transition, hash_trades
from kamou.simulator.chaos import Chaos
from kamou.simulator.faults import FaultName
from kamou.simulator.invariants.earned_sizes import SeenGate
from kamou.simulator.settings import SETTINGS
from kamou.simulator.shadow_records import RecordFate, ScriptedRecord, make_gate
from kamou.venue.violations import HardRule
from tests.exchange.port_fakes import plan_of
from tests.simulation.stories import NONE, Story, begin
from tests.venue.venue_orders import at

D = Decimal
NAME = plan_of().strategy
LIMITS = DemotionLimits(reference_mean=D(1), cusum=D(1), drawdown=D(1))


@pytest.fixture(autouse=True)
def _few_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demotion, "RESAMPLED_PATHS", 200)


def drawn(fate: RecordFate) -> ScriptedRecord:
    """Return a simulated record of this fate, for the strategy of the plans."""
    for seed in range(60):
        chaos = Chaos(
            seed,
            [FaultName.EARNED_GATE],
            start_ms=at(0),
            end_ms=at(60),
            convergence_ms=at(60),
        )
        for record in make_gate(chaos, SETTINGS, at(0), at(60)).records:
            if record.fate is fate and isinstance(record, ScriptedRecord):
                return renamed(record)
    raise AssertionError(fate)


def renamed(record: ScriptedRecord) -> ScriptedRecord:
    return attrs.evolve(
        record,
        strategy=NAME,
        opened=tuple(attrs.evolve(each, strategy=NAME) for each in record.opened),
        past=tuple(attrs.evolve(each, strategy=NAME) for each in record.past),
        later=tuple(attrs.evolve(each, strategy=NAME) for each in record.later),
    )


@attrs.define
class GateStory:
    """A story with an earned gate, and the book of its events."""

    story: Story
    record: ScriptedRecord
    book: PositionBook = attrs.field(factory=PositionBook)

    def commit(self, *events: Any) -> None:
        self.story.commit(*events)
        for event in events:
            self.book.apply(self.book.seq + 1, event)

    def due(self, at_ms: int) -> GateChanged:
        """Return the change that is due."""
        gate: StrategyGate = self.book.gate.find(NAME)
        found = find_transition(gather_record(self.book, NAME), gate, at_ms, GateRules())
        assert found is not None
        return found

    @property
    def rules(self) -> list[HardRule]:
        return self.story.rules


def told(fate: RecordFate) -> GateStory:
    """Return a story of a strategy with the past of this fate."""
    story = begin()
    story.monitor.sizes.earned = True
    made = GateStory(story, drawn(fate))
    made.commit(*made.record.past_events())
    return made


def canary() -> GateStory:
    made = told(RecordFate.FAILS)
    made.commit(made.due(at(1)))
    assert made.rules == NONE
    return made


# --- sizes ------------------------------------------------------------------------


def test_a_permit_of_a_strategy_in_shadow_is_reported() -> None:
    made = told(RecordFate.EARNS)
    made.story.grant(plan_of())
    assert made.rules == [HardRule.UNEARNED]


def test_a_permit_of_a_halted_strategy_is_reported() -> None:
    made = told(RecordFate.RUINED)
    made.commit(made.due(at(1)))
    made.commit(made.record.later_event())
    change = made.due(at(2))
    made.commit(change)
    assert (change.to_state, made.rules) == (GateState.HALTED, NONE)
    made.story.grant(plan_of())
    assert made.rules == [HardRule.UNEARNED]


def test_a_permit_of_a_canary_is_allowed() -> None:
    made = canary()
    made.story.grant(plan_of())
    assert made.rules == NONE


def test_a_position_of_a_canary_above_a_quarter_of_a_cap_is_reported() -> None:
    # A quarter of 15 % of 10,000 USDT is 375; with 5 % tolerance 393.75. A contract costs 10.
    for contracts, found in ((D(39), NONE), (D(40), [HardRule.UNEARNED])):
        made = canary()
        made.story.grant(plan_of(quantity=contracts))
        made.story.fill_entry(plan_of(quantity=contracts))
        made.story.look()
        assert [rule for rule in made.rules if rule is HardRule.UNEARNED] == found


# --- changes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fate", [RecordFate.STAYS, RecordFate.FAILS, RecordFate.RUINED, RecordFate.EARNS]
)
def test_the_changes_of_a_simulated_record_follow_from_its_trades(fate: RecordFate) -> None:
    made = told(fate)
    if fate is not RecordFate.EARNS:
        made.commit(made.due(at(1)))
    made.commit(made.record.later_event())
    if fate is not RecordFate.STAYS:
        made.commit(made.due(at(2)))
    made.story.monitor.sizes.check_end({NAME: fate.end})
    assert made.rules == NONE


@pytest.mark.parametrize(
    "wrong",
    [
        {"counted": 89},
        {"data_hash": "0" * 64},
        {"from_state": GateState.CANARY},
        {"from_ms": DAY_MS},
        {"half_size": True},
        {"attempt": 2},
        {"until_ms": at(0) // DAY_MS * DAY_MS},  # yesterday's block has open trades
        {"to_state": GateState.LIVE, "reason": GateReason.LIVE_EARNED},
        {"reason": GateReason.RUIN, "to_state": GateState.HALTED},
        {"reason": GateReason.CUSUM},
        {"reason": GateReason.ROLLING_MEAN},
    ],
    ids=str,
)
def test_a_change_that_says_otherwise_than_the_trades_is_reported(wrong: dict[str, Any]) -> None:
    made = told(RecordFate.FAILS)
    made.story.commit(attrs.evolve(made.due(at(1)), **wrong))
    assert made.rules == [HardRule.TRANSITION]


def test_a_promotion_of_a_strategy_without_an_edge_is_reported() -> None:
    good, made = told(RecordFate.FAILS), told(RecordFate.NULL)
    trades = gather_record(made.book, NAME).closed
    weak = demotion.rolling_mean(trades)
    assert weak is not None
    made.story.commit(
        attrs.evolve(
            good.due(at(1)),
            counted=len(trades),
            data_hash=hash_trades(trades),
            half_size=weak < 0,
        )
    )
    assert made.rules == [HardRule.TRANSITION]
    assert "is not due" in made.story.monitor.found[0].detail


def test_a_demotion_before_the_limit_is_reported() -> None:
    made = canary()
    made.commit(made.record.later_event())
    change = made.due(at(2))
    assert change.reason is GateReason.CUSUM
    made.story.monitor.sizes.gate(NAME).limits = attrs.evolve(LIMITS, cusum=D(100_000))
    made.commit(change)
    assert made.rules == [HardRule.TRANSITION]


def test_a_strategy_that_ends_in_another_state_than_its_trades_lead_to_is_reported() -> None:
    made = canary()
    made.commit(made.record.later_event())
    made.story.monitor.sizes.check_end({NAME: SeenGate(attempt=2)})
    assert made.rules == [HardRule.TRANSITION]
