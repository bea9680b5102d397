"""Each guard of the gate alone, at its boundary."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.book.gate_events import DemotionLimits, GateChanged
from kamou.core.book.gate_states import GateStates, StrategyGate
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.kinds import GateReason, GateState
from kamou.core.record import demotion
from kamou.core.record.canary import Pair
from kamou.core.record.demotion import rolling_mean
from kamou.core.record.e_values import ResultOfTrade
from kamou.core.record.gate_transitions import (
    GateRecord,
    GateRules,
    find_transition,
    hash_trades,
    look_at,
)
from tests.core.record.test_gate_transitions import START_MS, trade
from tests.core.record.test_promotion import canary_record

RULES = GateRules()
LIMITS = DemotionLimits(
    reference_mean=Decimal("1.2"), cusum=Decimal("8.0"), drawdown=Decimal("6.0")
)
SHADOW = StrategyGate()
CANARY_DAY = 25  # the record of ``canary_record`` has 25 days
NOW_MS = START_MS + CANARY_DAY * DAY_MS
CANARY = StrategyGate(
    state=GateState.CANARY,
    changes=1,
    changed_at_ms=NOW_MS,
    canary_at_ms=NOW_MS,
    reference_until_ms=NOW_MS,
    limits=LIMITS,
)


@pytest.fixture(autouse=True)
def _few_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demotion, "RESAMPLED_PATHS", 200)


def record(*later: ResultOfTrade, **fields: Any) -> GateRecord:
    closed = (*canary_record(), *later)
    return attrs.evolve(GateRecord(strategy="one", closed=closed), **fields)


def after(day: int, *results: str, hold_ms: int = HOUR_MS) -> tuple[ResultOfTrade, ...]:
    """Return trades that opened on a day after the start of the canary."""
    start_ms = (CANARY_DAY + day) * DAY_MS
    return tuple(
        trade(start_ms + number * HOUR_MS // 4, hold_ms, r, f"S{number}USDT")
        for number, r in enumerate(results)
    )


def decide(
    given_record: GateRecord, gate: StrategyGate = SHADOW, days: int = 0
) -> GateChanged | None:
    return find_transition(given_record, gate, NOW_MS + days * DAY_MS, RULES)


def figures_of(change: GateChanged) -> dict[str, str]:
    return {each.name: each.value for each in change.figures}


def reason(change: GateChanged | None) -> GateReason | None:
    return None if change is None else change.reason


def test_a_record_with_every_condition_becomes_a_canary_with_limits_of_its_own() -> None:
    change = decide(record())
    assert change is not None
    assert (change.from_state, change.to_state) == (GateState.SHADOW, GateState.CANARY)
    assert (change.counted, change.attempt, change.half_size) == (50, 1, False)
    assert change.limits is not None
    assert change.limits.reference_mean == Decimal("1.178")
    assert figures_of(change)["threshold"] == "20"


def test_a_block_counts_only_when_its_utc_day_is_over() -> None:
    assert find_transition(record(), SHADOW, NOW_MS - 1, RULES) is None
    assert find_transition(record(), SHADOW, NOW_MS, RULES) is not None


def test_a_block_with_an_open_trade_holds_back_itself_and_every_later_block() -> None:
    last_block_ms = START_MS + (CANARY_DAY - 1) * DAY_MS
    assert decide(record(open_since_ms=last_block_ms + 5)) is None
    assert reason(decide(record(open_since_ms=NOW_MS))) is GateReason.CANARY_EARNED
    # The losses since are known, but an older trade of theirs is still open.
    losses = after(0, *["-1"] * 9)
    assert decide(record(*losses, open_since_ms=NOW_MS), CANARY, days=3) is None
    assert reason(decide(record(*losses), CANARY, days=3)) is GateReason.CUSUM


def test_a_ruinous_trade_halts_at_once_and_a_ruinous_block_when_it_counts() -> None:
    alone = after(0, "-4.0001")
    for gate in (SHADOW, CANARY, attrs.evolve(CANARY, state=GateState.LIVE)):
        change = decide(record(*alone, open_since_ms=NOW_MS), gate)
        assert change is not None
        assert (change.to_state, change.reason) == (GateState.HALTED, GateReason.RUIN)
        assert (change.limits, change.half_size) == (None, False)
    assert reason(decide(record(*after(0, "-4")), CANARY)) is None
    block = after(0, "-2.1", "-2.1")
    assert decide(record(*block), CANARY) is None
    assert reason(decide(record(*block), CANARY, days=1)) is GateReason.RUIN
    assert decide(record(*block, open_since_ms=NOW_MS), CANARY, days=1) is None


def test_a_ruinous_trade_of_an_earlier_attempt_halts_too() -> None:
    demoted = StrategyGate(attempt=2, changes=2, from_ms=NOW_MS + 2 * DAY_MS)
    assert reason(decide(record(*after(0, "-5")), demoted, days=9)) is GateReason.RUIN


def test_a_halted_strategy_stays_halted_whatever_it_earns() -> None:
    halted = StrategyGate(state=GateState.HALTED, changes=1)
    assert decide(record(), halted) is None
    assert decide(record(*after(0, "-9")), halted, days=2) is None


def test_the_cusum_demotes_strictly_above_its_limit() -> None:
    # k is 0.6, so each loss of 1 R adds 1.6.
    assert reason(decide(record(*after(0, *["-1"] * 5)), CANARY, days=1)) is None
    limits = attrs.evolve(LIMITS, cusum=Decimal("7.999999"), drawdown=Decimal(99))
    gate = attrs.evolve(CANARY, limits=limits)
    change = decide(record(*after(0, *["-1"] * 5)), gate, days=1)
    assert change is not None
    assert (change.to_state, change.reason) == (GateState.SHADOW, GateReason.CUSUM)
    assert figures_of(change) == {
        "cusum": "8.0",
        "threshold": "7.999999",
    }


def test_a_crossing_of_the_cusum_demotes_though_later_trades_lower_it() -> None:
    trades = after(0, *["-1"] * 6, *["2.3"] * 6)
    gate = attrs.evolve(CANARY, limits=attrs.evolve(LIMITS, drawdown=Decimal(99)))
    assert reason(decide(record(*trades), gate, days=1)) is GateReason.CUSUM


def test_the_drawdown_demotes_strictly_beyond_its_limit() -> None:
    limits = attrs.evolve(LIMITS, cusum=Decimal(99))
    gate = attrs.evolve(CANARY, limits=limits)
    results = ["2.3", *["-1"] * 6]
    assert decide(record(*after(0, *results)), gate, days=1) is None
    worse = after(0, *results, "-0.01")
    assert reason(decide(record(*worse), gate, days=1)) is GateReason.DRAWDOWN
    assert reason(decide(record(*worse), attrs.evolve(gate, state=GateState.LIVE), days=1))


def test_trades_before_the_canary_do_not_demote_it() -> None:
    tight = DemotionLimits(
        reference_mean=Decimal("1.2"), cusum=Decimal("0.001"), drawdown=Decimal("0.001")
    )
    assert decide(record(), attrs.evolve(CANARY, limits=tight)) is None


def test_a_demotion_begins_a_new_attempt_with_a_cooldown_and_fresh_data() -> None:
    change = decide(record(*after(0, *["-1"] * 9)), CANARY, days=1)
    assert change is not None
    assert (change.attempt, change.limits, change.half_size) == (2, None, False)
    assert change.not_before_ms == change.at_ms + 7 * DAY_MS
    states = GateStates(strategies={"one": CANARY})
    states.change(attrs.evolve(change, at_ms=change.at_ms + HOUR_MS))
    gate = states.find("one")
    assert gate.state is GateState.SHADOW
    assert gate.from_ms == NOW_MS + 2 * DAY_MS  # the next UTC day, not the rest of this one
    assert (gate.canary_at_ms, gate.reference_until_ms) == (0, 0)


def shifted(days: int, count: int = 60) -> tuple[ResultOfTrade, ...]:
    """Return a strong record that begins a number of days after the start of the canary."""
    return tuple(
        attrs.evolve(
            each,
            opened_at_ms=each.opened_at_ms + (CANARY_DAY + days) * DAY_MS,
            closed_at_ms=each.closed_at_ms + (CANARY_DAY + days) * DAY_MS,
        )
        for each in canary_record(blocks=count // 2)
    )


def test_a_second_attempt_counts_fresh_data_only_and_needs_twice_the_e_value() -> None:
    demoted = StrategyGate(attempt=2, changes=2, from_ms=NOW_MS + 2 * DAY_MS)
    assert decide(record(), demoted, days=20) is None
    change = decide(record(*shifted(2)), demoted, days=40)
    assert change is not None
    assert (change.counted, change.from_ms) == (60, demoted.from_ms)
    assert figures_of(change)["threshold"] == "40"


def test_no_promotion_comes_before_the_end_of_the_cooldown() -> None:
    cooling = StrategyGate(attempt=1, changes=2, not_before_ms=NOW_MS + DAY_MS)
    assert find_transition(record(), cooling, NOW_MS + DAY_MS - 1, RULES) is None
    assert find_transition(record(), cooling, NOW_MS + DAY_MS, RULES) is not None


# --- LIVE ---------------------------------------------------------------------------


def pairs(count: int, shortfall: str) -> tuple[Pair, ...]:
    return tuple(
        Pair(
            opened_at_ms=NOW_MS + number * HOUR_MS,
            real_r=Decimal("2.3") - Decimal(shortfall),
            shadow_r=Decimal("2.3"),
        )
        for number in range(count)
    )


def proven(count: int = 30, shortfall: str = "0.10", **fields: Any) -> GateRecord:
    return record(*shifted(0), pairs=pairs(count, shortfall), **fields)


def test_a_canary_with_every_condition_becomes_live() -> None:
    change = decide(proven(), CANARY, days=40)
    assert change is not None
    assert (change.from_state, change.to_state) == (GateState.CANARY, GateState.LIVE)
    assert change.limits == LIMITS
    assert decide(proven(), attrs.evolve(CANARY, state=GateState.LIVE), days=40) is None


@pytest.mark.parametrize(
    "lacking",
    [
        proven(count=29),
        proven(shortfall="0.1000001"),
        proven(count=0),
        proven(real_open_since_ms=NOW_MS + 29 * HOUR_MS + 1),
        proven(open_since_ms=NOW_MS + HOUR_MS),
    ],
    ids=["29 closes", "shortfall", "no close", "open trade", "open shadow"],
)
def test_each_condition_alone_keeps_a_canary_from_live(lacking: GateRecord) -> None:
    change = decide(lacking, CANARY, days=40)
    assert change is None or change.to_state is not GateState.LIVE


def test_live_needs_six_times_the_e_value_of_a_canary() -> None:
    """The record has an e-value of 1,419."""
    enough = record(pairs=pairs(30, "0"))
    for attempt, to_state in ((4, GateState.LIVE), (5, None)):
        change = decide(enough, attrs.evolve(CANARY, attempt=attempt), days=40)
        assert (change and change.to_state) is to_state
    look = look_at(enough, CANARY, NOW_MS, RULES)
    assert look.evaluation.e_value_blocks == pytest.approx(1418.8345, rel=1e-6)


def test_live_needs_the_conditions_of_a_canary_at_the_same_look() -> None:
    poor = tuple(attrs.evolve(each, pnl=Decimal("-0.1")) for each in proven().closed)
    found = find_transition(
        attrs.evolve(proven(), closed=poor), CANARY, NOW_MS + 40 * DAY_MS, RULES
    )
    assert found is None


# --- half size -----------------------------------------------------------------------


def test_a_rolling_mean_below_zero_halves_the_size_and_a_recovery_restores_it() -> None:
    wide = attrs.evolve(LIMITS, cusum=Decimal(999), drawdown=Decimal(999))
    gate = attrs.evolve(CANARY, state=GateState.LIVE, limits=wide)
    zero = [*["-1"] * 20, *["2"] * 10]
    assert decide(record(*after(0, *zero)), gate, days=1) is None
    below = decide(record(*after(0, *zero[:-1], "1.99")), gate, days=1)
    assert below is not None
    assert (below.to_state, below.half_size, below.reason) == (
        GateState.LIVE,
        True,
        GateReason.ROLLING_MEAN,
    )
    half = attrs.evolve(gate, half_size=True)
    assert decide(record(*after(0, *zero[:-1], "1.99")), half, days=1) is None
    back = decide(record(*after(0, *zero)), half, days=1)
    assert back is not None
    assert (back.to_state, back.half_size) == (GateState.LIVE, False)


def test_the_rolling_mean_needs_thirty_trades_and_takes_the_last_ones() -> None:
    trades = [trade(number * HOUR_MS, 1, "-1" if number < 5 else "1") for number in range(35)]
    assert rolling_mean(trades) == 1
    assert rolling_mean(trades[:29]) is None
    assert rolling_mean(reversed(trades)) == 1


# --- properties ----------------------------------------------------------------------

RESULTS = st.lists(st.sampled_from(["2.3", "-1", "0.5", "-2", "-3.9"]), max_size=45)


@settings(max_examples=25, deadline=None)
@given(results=RESULTS, data=st.data(), state=st.sampled_from(["SHADOW", "CANARY", "LIVE"]))
def test_the_order_of_the_trades_changes_no_transition(
    results: list[str], data: st.DataObject, state: str
) -> None:
    gate = SHADOW if state == "SHADOW" else attrs.evolve(CANARY, state=GateState(state))
    one = record(*after(0, *results))
    shuffled = attrs.evolve(one, closed=tuple(data.draw(st.permutations(one.closed))))
    assert decide(one, gate, days=3) == decide(shuffled, gate, days=3)


@settings(max_examples=25, deadline=None)
@given(results=RESULTS, factor=st.sampled_from([4, 1024]))
def test_money_in_another_unit_changes_only_figures_in_money_and_the_hash(
    results: list[str], factor: int
) -> None:
    one = record(*after(0, *results))
    other = attrs.evolve(
        one, closed=tuple(attrs.evolve(each, pnl=each.pnl * factor) for each in one.closed)
    )
    rules = attrs.evolve(RULES, equity=RULES.equity * factor)
    for gate in (SHADOW, CANARY):
        found = decide(one, gate, days=3)
        scaled = find_transition(other, gate, NOW_MS + 3 * DAY_MS, rules)
        assert (found is None) == (scaled is None)
        if found is None or scaled is None:
            continue
        money = "usd_per_100"
        kept = [each for each in found.figures if each.name != money]
        assert kept == [each for each in scaled.figures if each.name != money]
        assert attrs.evolve(found, figures=(), data_hash="") == attrs.evolve(
            scaled, figures=(), data_hash=""
        )


def test_the_hash_is_that_of_the_lines_of_the_file_of_gate_evaluate() -> None:
    one, two = trade(0, 5, "1.5", "B"), trade(0, 3, "-1", "A")
    assert hash_trades([one, two]) == hash_trades([two, one])
    # printf 'one,1735689600000,1735689600003,A,-1,-10\none,...005,B,1.5,15.0\n' | sha256sum
    assert hash_trades([one, two]) == EXPECTED_HASH


EXPECTED_HASH = "397b3f775cbe1a92dfa3628425cde68eac7ada2c66eb4d722f49c66363d5eeef"
