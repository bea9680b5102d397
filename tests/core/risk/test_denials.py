"""Records of denials, each from the value that was denied and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kamou.core.book.candidate_events import DeniedEntry
from kamou.core.book.events import PermitDenied
from kamou.core.codes import Deny
from kamou.core.model import OrderRole, Side
from kamou.core.risk.denials import deny_candidate, deny_intent, deny_plan, make_denial
from kamou.ids import make_permit_id
from tests.core.risk.test_planning import candidate
from tests.core.trading_cases import NOON, intent, plan

TOO_LATE = make_denial(Deny.PLAN_EXPIRED, late_ms=250)
TOO_LARGE = make_denial(Deny.LEVERAGE_EXCEEDED, leverage=5, limit=3)
SYMBOLS = st.sampled_from(["SOLUSDT", "BTCUSDT"])
TIMES = st.integers(NOON, NOON + 86_400_000)


@given(SYMBOLS, st.sampled_from(Side), st.integers(1, 9), TIMES)
def test_the_denial_of_a_candidate_has_the_permit_id_that_its_plan_would_have(
    symbol: str, side: Side, attempt: int, at_ms: int
) -> None:
    denied = candidate(symbol, side)
    assert deny_candidate(denied, attempt, TOO_LATE, at_ms) == DeniedEntry(
        at_ms=at_ms,
        permit_id=make_permit_id(denied.signal_id, attempt),
        signal_id=denied.signal_id,
        strategy=denied.strategy,
        symbol=symbol,
        denials=(TOO_LATE,),
    )


@given(SYMBOLS, st.sampled_from(Side), TIMES)
def test_the_denial_of_a_plan_has_the_ids_of_the_plan_and_every_denial(
    symbol: str, side: Side, at_ms: int
) -> None:
    denied = plan(symbol, side, permit_id="p7", signal_id="s7", strategy="breakout")
    assert deny_plan(denied, (TOO_LATE, TOO_LARGE), at_ms) == PermitDenied(
        at_ms=at_ms,
        cause_id="s7",
        permit_id="p7",
        signal_id="s7",
        strategy="breakout",
        symbol=symbol,
        role=OrderRole.ENTRY,
        denials=(TOO_LATE, TOO_LARGE),
    )


@given(st.sampled_from([OrderRole.STOP_LOSS, OrderRole.TAKE_PROFIT, OrderRole.EXIT]), TIMES)
def test_the_denial_of_a_reducing_order_has_the_trade_and_the_role_and_no_permit(
    role: OrderRole, at_ms: int
) -> None:
    denied = intent(role, plan("BTCUSDT"))
    assert deny_intent(denied, TOO_LARGE, at_ms) == PermitDenied(
        at_ms=at_ms,
        cause_id=denied.trade_id,
        permit_id="",
        signal_id=denied.trade_id,
        strategy="",
        symbol="BTCUSDT",
        role=role,
        denials=(TOO_LARGE,),
    )
