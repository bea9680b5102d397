"""A key of a look walks no record, and equal keys mean equal transitions."""

from __future__ import annotations

from decimal import Decimal

import attrs
import numpy as np
import pytest

from kamou.core.book.events import Event
from kamou.core.book.gate_events import DemotionLimits
from kamou.core.book.gate_states import CanaryClose, StrategyGate
from kamou.core.book.position_book import PositionBook
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.kinds import GateState
from kamou.core.record import demotion
from kamou.core.record.gate_record import gather_record, key_of_look
from kamou.core.record.gate_transitions import GateRules, find_transition, look_at
from kamou.core.record.promotion import CanaryMinima
from tests.core.shadow_cases import closed, closed_shadow, opened, shadow_trade

START_MS = 19_700 * DAY_MS
NAME = "oi_momentum"
EASY = GateRules(minima=CanaryMinima(trades=20, blocks=5, symbols=2, original_trades=10))
CANARY = StrategyGate(
    state=GateState.CANARY,
    changes=1,
    canary_at_ms=START_MS + 5 * DAY_MS,
    reference_until_ms=START_MS + 5 * DAY_MS,
    limits=DemotionLimits(reference_mean=Decimal("0.3"), cusum=Decimal(12), drawdown=Decimal(15)),
)


@pytest.fixture(autouse=True)
def _few_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demotion, "RESAMPLED_PATHS", 50)


@attrs.define
class Growing:
    """A book in which shadow trades of a strategy open and close from hour to hour."""

    chance: np.random.Generator
    book: PositionBook = attrs.Factory(PositionBook)
    seq: int = 0
    late: list[tuple[str, int, Decimal]] = attrs.Factory(list)  # real trades that close later

    def apply(self, event: Event) -> None:
        self.seq += 1
        self.book.apply(self.seq, event)

    def pass_hour(self, now_ms: int, mean_r: float) -> None:
        for number in range(self.chance.integers(0, 3)):
            name = f"{now_ms}.{number}"
            symbol = f"S{self.chance.integers(0, 4)}"
            self.apply(
                opened(shadow_trade(name, strategy=NAME, symbol=symbol, opened_at_ms=now_ms))
            )
        for trade in list(self.book.shadows.open.values()):
            if self.chance.uniform() < 0.15:
                r = Decimal(str(round(self.chance.normal(mean_r, 1.0), 3)))
                r = Decimal("-4.5") if self.chance.uniform() < 0.0004 else r
                end = closed_shadow(trade, r=r, pnl=r * 20, closed_at_ms=now_ms + 1)
                self.apply(closed(end))
                if self.book.gate.find(NAME).state is GateState.CANARY:
                    self.late.append((trade.shadow_id, trade.opened_at_ms, r))
        if self.late and self.chance.uniform() < 0.5:
            self.close_real(*self.late.pop(0), now_ms)

    def close_real(self, trade_id: str, opened_at_ms: int, r: Decimal, now_ms: int) -> None:
        """Add a close of a canary; the real trade earned a little less."""
        close = CanaryClose(
            trade_id=trade_id, opened_at_ms=opened_at_ms, closed_at_ms=now_ms, r=r - Decimal("0.02")
        )
        closes = self.book.gate.closes
        closes[NAME] = (*closes.get(NAME, ()), close)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("canary", [False, True])
def test_while_the_key_of_a_look_stays_the_same_the_record_makes_the_same_transition(
    seed: int, canary: bool
) -> None:
    it, keys, changes = Growing(np.random.default_rng(seed)), 0, set()
    wins = bool(seed % 2)
    if canary:
        it.book.gate.strategies[NAME] = CANARY
    last_key, last = None, None
    for hour in range(24 * 16):
        now_ms = START_MS + hour * HOUR_MS
        it.pass_hour(now_ms, 1.2 if wins else -0.2)
        gate, key = it.book.gate.find(NAME), key_of_look(it.book, NAME, now_ms)
        record = gather_record(it.book, NAME)
        if key != last_key or hour % 7 == 0:
            look = look_at(record, gate, now_ms, EASY)
            change = find_transition(record, gate, now_ms, EASY)
            found = (
                change and attrs.evolve(change, at_ms=0, not_before_ms=0),
                look.evaluation,
                look.comparison,
                look.monitored,
                look.ruin,
            )
            if key == last_key:
                assert found == last
            changes.add(change and change.to_state)
            keys += key != last_key
            last_key, last = key, found
    assert keys >= 12
    if canary != wins:  # the record makes a canary, or demotes one
        assert len(changes) > 1


def test_a_ruinous_trade_of_an_incomplete_block_changes_the_key() -> None:
    it = Growing(np.random.default_rng(1))
    now_ms = START_MS + HOUR_MS
    for name in ("a", "b", "c"):
        it.apply(opened(shadow_trade(name, strategy=NAME, symbol=name, opened_at_ms=START_MS)))
    before = key_of_look(it.book, NAME, now_ms)
    trades = it.book.shadows.open
    it.apply(closed(closed_shadow(trades["a"], r=Decimal("-4"))))
    assert key_of_look(it.book, NAME, now_ms) == before
    it.apply(closed(closed_shadow(trades["b"], r=Decimal("-4.01"))))
    assert key_of_look(it.book, NAME, now_ms) != before
