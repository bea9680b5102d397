"""Grants of the earned gate, and the fold of the gate's changes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest

from kamou.core.book.events import TradeClosed
from kamou.core.book.gate_events import DemotionLimits, GateChanged
from kamou.core.book.gate_states import CanaryClose, StrategyGate
from kamou.core.book.late_events import ResultCorrected
from kamou.core.book.position_book import PositionBook
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.kinds import ExitReason, GateReason, GateState
from kamou.core.model import Side
from kamou.core.record.gate import EarnedGate, LiveGrant

D = Decimal
AT_MS = 1_735_689_600_000 + 12 * HOUR_MS  # 2025-01-01 12:00
LIMITS = DemotionLimits(reference_mean=D("0.3"), cusum=D(40), drawdown=D(20))
FIRST = GateChanged(
    at_ms=AT_MS,
    strategy="one",
    number=1,
    from_state=GateState.SHADOW,
    to_state=GateState.CANARY,
    half_size=False,
    attempt=1,
    reason=GateReason.CANARY_EARNED,
    figures=(),
    from_ms=0,
    until_ms=AT_MS - 12 * HOUR_MS,
    counted=60,
    data_hash="ab",
    not_before_ms=0,
    limits=LIMITS,
)


def following(before: GateChanged, to_state: GateState, **fields: Any) -> GateChanged:
    return attrs.evolve(
        before,
        at_ms=before.at_ms + DAY_MS,
        number=before.number + 1,
        from_state=before.to_state,
        to_state=to_state,
        **fields,
    )


def fold(*events: GateChanged | TradeClosed | ResultCorrected) -> PositionBook:
    book = PositionBook()
    for event in events:
        book.apply(book.seq + 1, event)
    return book


def closed(trade_id: str, opened_ms: int, r: str, strategy: str = "one") -> TradeClosed:
    price = D(100)
    return TradeClosed(
        at_ms=opened_ms + HOUR_MS,
        trade_id=trade_id,
        symbol="SOLUSDT",
        strategy=strategy,
        side=Side.LONG,
        quantity=D(1),
        contract_size=D(1),
        entry_price=price,
        exit_price=price,
        stop_price=price,
        opened_at_ms=opened_ms,
        closed_at_ms=opened_ms + HOUR_MS,
        pnl_gross=D(0),
        fees=D(0),
        funding=D(0),
        slippage=D(0),
        pnl_net=D(0),
        r_multiple=D(r),
        exit_reason=ExitReason.TAKE_PROFIT,
    )


# --- grants ---------------------------------------------------------------------------


def granted(*events: GateChanged) -> LiveGrant | None:
    return EarnedGate().find_grant("one", fold(*events))


def test_a_strategy_without_any_change_has_no_grant() -> None:
    assert granted() is None


def test_a_canary_gets_a_quarter_and_a_live_strategy_all_of_both_caps() -> None:
    canary, live = granted(FIRST), granted(FIRST, following(FIRST, GateState.LIVE))
    assert (canary and canary.basis, canary and canary.size_fraction) == ("CANARY", D("0.25"))
    assert (live and live.basis, live and live.size_fraction) == ("LIVE", D(1))
    assert EarnedGate().find_grant("another", fold(FIRST)) is None


def test_half_size_halves_what_the_state_grants() -> None:
    half = following(FIRST, GateState.CANARY, half_size=True)
    canary = granted(FIRST, half)
    live = granted(FIRST, half, following(half, GateState.LIVE))
    assert (canary and canary.size_fraction, live and live.size_fraction) == (D("0.125"), D("0.5"))


@pytest.mark.parametrize("to_state", [GateState.SHADOW, GateState.HALTED])
def test_a_demoted_or_halted_strategy_has_no_grant(to_state: GateState) -> None:
    live = following(FIRST, GateState.LIVE)
    assert granted(FIRST, live, following(live, to_state, limits=None)) is None


# --- the fold ---------------------------------------------------------------------------


def test_a_change_that_does_not_follow_the_newest_one_fails_an_assertion() -> None:
    halted = following(FIRST, GateState.HALTED, limits=None)
    for wrong in (
        attrs.evolve(FIRST, number=3, from_state=GateState.CANARY),
        attrs.evolve(FIRST, number=2, from_state=GateState.SHADOW),
    ):
        with pytest.raises(AssertionError):
            fold(FIRST, wrong)
    with pytest.raises(AssertionError):
        fold(FIRST, halted, following(halted, GateState.HALTED))


def test_a_canary_keeps_its_reference_until_it_is_demoted() -> None:
    live = following(FIRST, GateState.LIVE, until_ms=FIRST.until_ms + DAY_MS)
    (canary, promoted) = (fold(*events).gate.find("one") for events in ((FIRST,), (FIRST, live)))
    assert (canary.canary_at_ms, canary.reference_until_ms) == (FIRST.at_ms, FIRST.until_ms)
    assert (promoted.canary_at_ms, promoted.reference_until_ms) == (FIRST.at_ms, FIRST.until_ms)
    assert promoted.limits == LIMITS
    demoted = following(live, GateState.SHADOW, attempt=2, limits=None, not_before_ms=9)
    assert fold(FIRST, live, demoted).gate.find("one") == StrategyGate(
        attempt=2,
        changes=3,
        changed_at_ms=demoted.at_ms,
        from_ms=demoted.at_ms + 12 * HOUR_MS,  # the next 00:00
        not_before_ms=9,
    )


def test_only_trades_that_a_canary_opened_are_kept_with_their_newest_r() -> None:
    late = ResultCorrected(
        at_ms=AT_MS + DAY_MS,
        trade_id="b",
        number=1,
        added=D(1),
        funding=D(1),
        pnl_net=D(1),
        r_multiple=D("0.75"),
    )
    events = (
        closed("too early", AT_MS - DAY_MS, "1"),
        FIRST,
        closed("before", AT_MS - 1, "1"),
        closed("a", AT_MS, "1"),
        closed("b", AT_MS + 1, "2"),
        closed("other", AT_MS + 1, "2", strategy="another"),
        late,
    )
    book = fold(*events)
    assert book.gate.closes == {
        "one": (
            CanaryClose(trade_id="a", opened_at_ms=AT_MS, closed_at_ms=AT_MS + HOUR_MS, r=D(1)),
            CanaryClose(
                trade_id="b", opened_at_ms=AT_MS + 1, closed_at_ms=AT_MS + 1 + HOUR_MS, r=D("0.75")
            ),
        )
    }
    assert PositionBook.load(book.dump()) == book == book.fork()
    demoted = following(FIRST, GateState.SHADOW, attempt=2, limits=None)
    assert fold(*events, demoted).gate.closes == {}
