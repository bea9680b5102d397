"""The record of a strategy that the gate gathers from the position book."""

from __future__ import annotations

from decimal import Decimal

import pytest

from kamou.core.book.gate_states import StrategyGate
from kamou.core.book.position_book import PositionBook
from kamou.core.book.trades import OpenTrade
from kamou.core.day import DAY_MS
from kamou.core.kinds import GateState
from kamou.core.model import Side
from kamou.core.record.gate_record import gather_record, key_of_look
from tests.core.record.test_look_keys import NAME, START_MS
from tests.core.shadow_cases import closed, closed_shadow, opened, shadow_trade

MIDNIGHT_MS = START_MS + 10 * DAY_MS


def real_trade(trade_id: str, opened_at_ms: int) -> OpenTrade:
    return OpenTrade(
        trade_id=trade_id,
        permit_id="",
        symbol="BTCUSDT",
        strategy=NAME,
        side=Side.LONG,
        contract_size=Decimal(1),
        planned_entry=Decimal(100),
        stop_price=Decimal(90),
        target_price=None,
        leverage=1,
        opened_at_ms=opened_at_ms,
        hold_until_ms=0,
        changed_at_ms=opened_at_ms,
        unprotected_since_ms=0,
    )


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("flat", [False, True])
def test_an_open_real_trade_holds_back_the_block_of_its_shadow_trade(
    flat: bool, ended: bool
) -> None:
    """Its entry filled after midnight, and its signal came before."""
    book = PositionBook()
    book.gate.strategies[NAME] = StrategyGate(
        state=GateState.CANARY, changes=1, canary_at_ms=START_MS + DAY_MS
    )
    shadow = shadow_trade("one", strategy=NAME, symbol="BTCUSDT", opened_at_ms=MIDNIGHT_MS - 200)
    book.apply(1, opened(shadow))
    if ended:
        r = Decimal(1)
        book.apply(2, closed(closed_shadow(shadow, r=r, pnl=r, closed_at_ms=MIDNIGHT_MS + 50_000)))
    kept = book.trades.finished if flat else book.trades.open
    kept["one" if flat else "BTCUSDT"] = real_trade("one", MIDNIGHT_MS + 300)
    assert gather_record(book, NAME).real_open_since_ms == MIDNIGHT_MS - 200
    assert MIDNIGHT_MS - 200 in key_of_look(book, NAME, MIDNIGHT_MS + DAY_MS)


def test_an_open_real_trade_without_a_shadow_trade_holds_back_the_day_of_its_opening() -> None:
    book = PositionBook()
    book.gate.strategies[NAME] = StrategyGate(
        state=GateState.CANARY, changes=1, canary_at_ms=START_MS + DAY_MS
    )
    book.trades.open["BTCUSDT"] = real_trade("one", MIDNIGHT_MS + 300)
    assert gather_record(book, NAME).real_open_since_ms == MIDNIGHT_MS + 300
