"""The gate's transitions over whole lives of strategies, compared with their definition."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import attrs
import pytest
from numpy.random import Generator, default_rng

from kamou.core.book.gate_events import GateChanged
from kamou.core.book.gate_states import GateStates
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.kinds import GateReason, GateState
from kamou.core.record import demotion
from kamou.core.record.canary import Pair
from kamou.core.record.e_values import ResultOfTrade
from kamou.core.record.gate_transitions import (
    GateRecord,
    GateRules,
    find_transition,
)
from kamou.core.record.promotion import CanaryMinima
from tests.core.record.gate_by_definition import Line, day_of
from tests.core.record.transitions_by_definition import (
    Change,
    GateByDefinition,
    PairOf,
    Seen,
    Thresholds,
)

START_MS = 1_735_689_600_000  # 2025-01-01
SHORT = GateRules(
    minima=CanaryMinima(e_value=2, trades=8, blocks=3, symbols=3, original_trades=5),
    live_closes=4,
    cooldown_ms=3 * DAY_MS,
)
SHIPPED = GateRules()


def trade(opened_ms: int, hold_ms: int, r: str, symbol: str = "AUSDT") -> ResultOfTrade:
    return ResultOfTrade(
        strategy="one",
        symbol=symbol,
        opened_at_ms=START_MS + opened_ms,
        closed_at_ms=START_MS + opened_ms + hold_ms,
        r=Decimal(r),
        pnl=Decimal(r) * 10,
    )


def by_line(each: ResultOfTrade) -> Line:
    times = (str(each.opened_at_ms), str(each.closed_at_ms))
    return Line(each.strategy, *times, each.symbol, str(each.r), str(each.pnl))


def needs(rules: GateRules) -> Thresholds:
    least = rules.minima
    return Thresholds(
        e_value=least.e_value,
        trades=least.trades,
        blocks=least.blocks,
        symbols=least.symbols,
        original_trades=least.original_trades,
        live_closes=rules.live_closes,
        cooldown=timedelta(milliseconds=rules.cooldown_ms),
    )


def draw_life(chance: Generator, days: int, per_day: int) -> list[ResultOfTrade]:
    """Return trades of a strategy whose edge changes every few weeks."""
    made, edge = [], 0.6
    for day in range(days):
        if chance.random() < 0.06:
            edge = chance.choice([0.75, 0.5, 0.29, 0.15])
        for number in range(int(chance.integers(0, per_day + 1))):
            r = "2.3" if chance.random() < edge else "-1.05"
            r = "-4.3" if chance.random() < 0.0015 else r
            opened = day * DAY_MS + int(chance.integers(0, 96)) * 15 * 60_000
            hold = int(chance.choice([1, 5, 30, 60])) * HOUR_MS
            made.append(trade(opened, hold, r, f"S{number + per_day * (day % 4):02}"))
    return made


@attrs.frozen
class RealTrade:
    shadow: ResultOfTrade
    closed_at_ms: int
    r: Decimal


@attrs.define
class Life:
    """A strategy's life, judged at every look."""

    rules: GateRules
    chance: Generator
    cost: float  # R by which real trades are worse
    states: GateStates = attrs.field(factory=GateStates)
    real: list[RealTrade] = attrs.field(factory=list)
    changes: list[GateChanged] = attrs.field(factory=list)
    known: int = 0

    def run(self, trades: list[ResultOfTrade], days: int) -> None:
        judge = GateByDefinition(needs(self.rules))
        for at in range(1, days * 2 + 10):
            now_ms = START_MS + at * 12 * HOUR_MS + int(self.chance.integers(0, 9)) * HOUR_MS
            self._trade(trades, now_ms)
            record = self._record(trades, now_ms)
            found = find_transition(record, self.states.find("one"), now_ms, self.rules)
            expected = judge.look(self._seen(record, trades, now_ms))
            assert as_expected(found) == expected
            if found is None:
                continue
            self.states.change(found)
            self.changes.append(found)
            if (limits := found.limits) is not None:
                judge.limits = (
                    Fraction(limits.reference_mean),
                    Fraction(limits.cusum),
                    Fraction(limits.drawdown),
                )

    def _trade(self, trades: list[ResultOfTrade], now_ms: int) -> None:
        """Open a real trade for each shadow trade that has opened while it may trade."""
        opened = [each for each in trades if each.opened_at_ms <= now_ms]
        opened.sort(key=lambda each: each.opened_at_ms)
        for each in opened[self.known :]:
            if self.states.find("one").state in ("CANARY", "LIVE"):
                late = int(self.chance.integers(0, 9)) * HOUR_MS
                worse = Decimal(str(round(self.cost + self.chance.normal() / 50, 4)))
                self.real.append(RealTrade(each, each.closed_at_ms + late, each.r - worse))
        self.known = len(opened)

    def _real(self, now_ms: int) -> tuple[list[RealTrade], list[RealTrade]]:
        """Return closed and open real trades since the strategy became a canary."""
        since = self.states.find("one").canary_at_ms
        mine = [each for each in self.real if since and each.shadow.opened_at_ms >= since]
        closed = [each for each in mine if each.closed_at_ms <= now_ms]
        return closed, [each for each in mine if each not in closed]

    def _record(self, trades: list[ResultOfTrade], now_ms: int) -> GateRecord:
        closed = [each for each in trades if each.closed_at_ms <= now_ms]
        open_ = [each for each in trades if each.opened_at_ms <= now_ms < each.closed_at_ms]
        ended, running = self._real(now_ms)
        pairs = [
            Pair(opened_at_ms=each.shadow.opened_at_ms, real_r=each.r, shadow_r=each.shadow.r)
            for each in ended
        ]
        self.chance.shuffle(closed)
        return GateRecord(
            strategy="one",
            closed=tuple(closed),
            open_since_ms=min((each.opened_at_ms for each in open_), default=None),
            pairs=tuple(pairs),
            real_open_since_ms=min((x.shadow.opened_at_ms for x in running), default=None),
        )

    def _seen(self, record: GateRecord, trades: list[ResultOfTrade], now_ms: int) -> Seen:
        _, running = self._real(now_ms)
        return Seen(
            now=datetime.fromtimestamp(now_ms / 1000, UTC).replace(tzinfo=None),
            closed=[by_line(each) for each in record.closed],
            open_days=[
                day_of(str(each.opened_at_ms))
                for each in trades
                if each.opened_at_ms <= now_ms < each.closed_at_ms
            ],
            pairs=[
                PairOf(str(each.opened_at_ms), str(each.real_r), str(each.shadow_r))
                for each in record.pairs
            ],
            real_open_days=[day_of(str(each.shadow.opened_at_ms)) for each in running],
        )


def as_expected(found: GateChanged | None) -> Change | None:
    if found is None:
        return None
    return Change(
        str(found.from_state),
        str(found.to_state),
        found.half_size,
        found.attempt,
        str(found.reason),
        found.counted,
        found.data_hash,
    )


def live(seed: int, rules: GateRules, days: int, per_day: int, cost: float = 0.0) -> Life:
    chance = default_rng(seed)
    life = Life(rules, chance, cost)
    life.run(draw_life(chance, days, per_day), days)
    return life


@pytest.fixture
def few_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calibrate fast; the limits themselves are judged elsewhere."""
    monkeypatch.setattr(demotion, "RESAMPLED_PATHS", 300)


@pytest.mark.usefixtures("few_paths")
def test_every_change_of_a_life_follows_from_the_definition() -> None:
    reasons: Counter[GateReason] = Counter()
    attempts = 0
    for seed in range(12):
        life = live(seed, SHORT, days=70, per_day=5)
        reasons.update(each.reason for each in life.changes)
        attempts = max(attempts, *(each.attempt for each in life.changes), 0)
    assert set(reasons) == set(GateReason), reasons
    assert attempts >= 3


@pytest.mark.usefixtures("few_paths")
def test_every_change_by_the_shipped_thresholds_follows_from_the_definition() -> None:
    reached = set()
    for seed in range(2):
        life = live(1_000 + seed, SHIPPED, days=120, per_day=4)
        reached |= {each.to_state for each in life.changes}
    assert {GateState.CANARY, GateState.LIVE, GateState.SHADOW} <= reached
