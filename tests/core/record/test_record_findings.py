"""Findings of a shadow record: complete blocks, looks, losing cells, and the win rate."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.record.record_findings import (
    WIN_RATE_LAMBDAS,
    RecordJudge,
    WinRecord,
    judge_record,
)
from tests.core.record import cells_by_definition as definition

START_MS = 19_700 * DAY_MS
LATE_MS = START_MS + 10_000 * DAY_MS


@attrs.frozen(kw_only=True)
class Result:
    symbol: str
    opened_at_ms: int
    r: Decimal


def draw_results(seed: int, trades: int, per_day: int = 12, losing: int = -1) -> list[Result]:
    """Return trades that win 2.3 R or lose 1 R, and lose only in the hour ``losing``."""
    chance = np.random.default_rng(seed)
    results = []
    for at in range(trades):
        hour = int(chance.integers(0, 6)) * 4
        wins = chance.uniform() < 1 / 3.3 and hour != losing
        results.append(
            Result(
                symbol=f"S{chance.integers(0, 5)}",
                opened_at_ms=START_MS + at // per_day * DAY_MS + hour * HOUR_MS + at % per_day,
                r=Decimal("2.3") if wins else Decimal(-1),
            )
        )
    return results


def looked_at(results: list[Result]) -> list[Result]:
    """Return the trades of the last look, one day after the other, by the definition."""
    taken: list[Result] = []
    found: list[Result] = []
    looks = [100 * 2**k for k in range(20)]
    for day in sorted({each.opened_at_ms // DAY_MS for each in results}):
        taken += [each for each in results if each.opened_at_ms // DAY_MS == day]
        if looks[0] <= len(taken):
            looks = [each for each in looks if each > len(taken)]
            found = list(taken)
    return found


def losing_by_definition(results: list[Result], key: Any) -> set[Any]:
    keys = sorted({key(each) for each in results})
    cells = [[Fraction(each.r) for each in results if key(each) == one] for one in keys]
    if not cells:
        return set()
    p = [definition.p_value(cell, cells) for cell in cells]
    rejected = definition.rejected(p, Fraction(1, 10))
    bounds = definition.shrunken_bounds(cells)
    return {
        one
        for one, by_rate, bound in zip(keys, rejected, bounds, strict=True)
        if by_rate or (bound is not None and bound < 0)
    }


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    trades=st.integers(0, 500),
    losing=st.sampled_from([-1, 0, 8]),
    order=st.randoms(use_true_random=False),
)
def test_losing_hours_and_symbols_are_those_of_the_definition_at_the_last_look(
    seed: int, trades: int, losing: int, order: Any
) -> None:
    results = draw_results(seed, trades, losing=losing)
    last = looked_at(results)
    order.shuffle(results)
    found = judge_record(results, open_since_ms=None, now_ms=LATE_MS)
    assert set(found.losing_hours) == losing_by_definition(
        last, lambda each: each.opened_at_ms // HOUR_MS % 24
    )
    assert set(found.losing_symbols) == losing_by_definition(last, lambda each: each.symbol)


def test_an_hour_without_a_win_is_found_with_its_trades_and_mean() -> None:
    results = draw_results(1, 800, losing=8)
    cell = judge_record(results, open_since_ms=None, now_ms=LATE_MS).losing_hours[8]
    in_hour = [each for each in results if each.opened_at_ms // HOUR_MS % 24 == 8]
    assert 0 < cell.trades <= len(in_hour)
    assert cell.mean_r == -1


def test_before_100_trades_no_cell_is_looked_at_and_between_looks_findings_stay() -> None:
    results = draw_results(2, 199, per_day=1, losing=8)

    def losing(n: int) -> object:
        found = judge_record(results[:n], open_since_ms=None, now_ms=LATE_MS)
        return found.losing_hours, found.losing_symbols

    assert losing(99) == ({}, {})
    assert all(losing(n) == losing(100) for n in range(100, 200))


@pytest.mark.parametrize(
    ("open_day", "now_day", "blocks"),
    [(None, 40, 30), (None, 29, 29), (None, 10, 10), (12, 40, 12), (12, 10, 10), (35, 40, 30)],
)
def test_a_block_counts_once_its_day_is_over_and_no_earlier_trade_is_open(
    open_day: int | None, now_day: int, blocks: int
) -> None:
    since_ms = None if open_day is None else START_MS + open_day * DAY_MS + HOUR_MS
    now_ms = START_MS + now_day * DAY_MS + 23 * HOUR_MS
    results = draw_results(3, 90, per_day=3)
    wins = judge_record(results, open_since_ms=since_ms, now_ms=now_ms).wins
    assert len(wins.shares) == blocks
    assert wins.trades == 3 * blocks
    assert wins.wins == sum(each.r > 0 for each in results[: 3 * blocks])


def evidence_by_definition(shares: list[Fraction], break_even: float) -> float:
    wealth = [1.0] * len(WIN_RATE_LAMBDAS)
    for share in shares:
        for at, each in enumerate(WIN_RATE_LAMBDAS):
            wealth[at] *= 1 + each * (break_even - float(share))
    return sum(wealth) / len(wealth)


@given(
    blocks=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4)), max_size=60),
    reward=st.floats(0.2, 6),
)
def test_the_win_rate_is_too_low_if_both_wilson_and_the_bets_on_blocks_say_so(
    blocks: list[tuple[int, int]], reward: float
) -> None:
    pairs = [(min(wins, trades), trades) for wins, trades in blocks]
    shares = [Fraction(wins, trades) for wins, trades in pairs]
    wins, trades = sum(w for w, _ in pairs), sum(t for _, t in pairs)
    record = WinRecord(wins=wins, trades=trades, shares=tuple(shares))
    evidence = evidence_by_definition(shares, 1 / (1 + reward))
    assert record.e_value(1 / (1 + reward)) == pytest.approx(evidence)
    if math.isclose(evidence, 40):
        return
    wilson = definition.win_rate_too_low(wins, trades, Fraction(reward)) if trades else False
    assert record.is_too_low(reward) == (wilson and evidence > 40)


@given(shares=st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=40), rate=st.floats(0.05, 0.9))
def test_evidence_grows_with_the_break_even_rate(shares: list[float], rate: float) -> None:
    """So the bound for the true rate holds for all lower ones at once."""
    record = WinRecord(wins=0, trades=0, shares=tuple(map(Fraction, shares)))
    assert record.e_value(rate) <= record.e_value(rate + 0.05) + 1e-12


def test_a_strategy_that_breaks_even_is_rarely_vetoed_however_often_one_looks() -> None:
    """At 2 trades a day and looks after every block, Wilson alone would veto five times as many."""
    chance = np.random.default_rng(4)
    paths, days, reward = 400, 150, 2.3
    won = chance.binomial(2, 1 / (1 + reward), (paths, days))
    false = wilson_alone = 0
    for row in won.tolist():
        vetoed = naive = False
        shares: tuple[Fraction, ...] = ()
        for day, wins in enumerate(row):
            shares = (*shares, Fraction(wins, 2))
            total = sum(row[: day + 1])
            if definition.win_rate_too_low(total, 2 * day + 2, Fraction(reward)):
                naive = True
                record = WinRecord(wins=total, trades=2 * day + 2, shares=shares)
                vetoed = vetoed or record.is_too_low(reward)
        false, wilson_alone = false + vetoed, wilson_alone + naive
    assert false <= 0.025 * paths
    assert wilson_alone > 0.08 * paths


def test_a_strategy_that_never_wins_is_found() -> None:
    record = WinRecord(wins=0, trades=60, shares=(Fraction(0),) * 30)
    assert record.is_too_low(2.3)
    assert not attrs.evolve(record, trades=29).is_too_low(2.3)


@attrs.define
class GrowingRecord:
    """A shadow record in which time passes: trades open now and close later."""

    closed: list[Result] = attrs.Factory(list)
    running: list[Result] = attrs.Factory(list)

    def results_of(self, strategy: str) -> list[Result]:
        assert strategy == "one"
        return self.closed

    def open_since_ms(self, strategy: str) -> int | None:
        assert strategy == "one"
        return min((each.opened_at_ms for each in self.running), default=None)

    def count_opened_before(self, strategy: str, day: int) -> int:
        assert strategy == "one"
        return sum(each.opened_at_ms < day * DAY_MS for each in self.closed)


@pytest.mark.parametrize("seed", range(3))
def test_findings_that_are_kept_until_a_block_is_complete_are_those_of_each_instant(
    seed: int,
) -> None:
    chance = np.random.default_rng(seed)
    record, judge, kept = GrowingRecord(), RecordJudge(), 0
    previous = None
    for hour in range(24 * 45):
        now_ms = START_MS + hour * HOUR_MS
        for _ in range(chance.integers(0, 4 - seed % 2)):
            symbol, r = f"S{chance.integers(0, 5)}", Decimal(int(chance.integers(-11, 12))) / 10
            if now_ms // HOUR_MS % 24 == 4:
                r = Decimal(-2)  # an hour that loses
            record.running.append(Result(symbol=symbol, opened_at_ms=now_ms, r=r))
        ended = [each for each in record.running if chance.uniform() < 0.1]
        record.running = [each for each in record.running if each not in ended]
        record.closed += ended
        found = judge.judge(record, "one", now_ms)
        wanted = judge_record(
            record.closed, open_since_ms=record.open_since_ms("one"), now_ms=now_ms
        )
        assert found == wanted
        kept += found is previous
        previous = found
    assert kept > 900
    assert previous is not None
    assert previous.losing_hours
