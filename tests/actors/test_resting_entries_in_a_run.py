"""Post-only entries in the whole system: fills, deadlines, halts, stops and restarts."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import trio

from kamou.actors.order_manager import OrderManager
from kamou.core.book.candidate_events import CandidatesRefined
from kamou.core.book.events import (
    CancelRequested,
    FillRecorded,
    IntentRecorded,
    OrderClosed,
    OrderRejected,
    PermitReleased,
    TradeClosed,
)
from kamou.core.book.shadow_events import ShadowTradesClosed, ShadowTradesOpened
from kamou.core.codes import Deny
from kamou.core.kinds import ExitReason
from kamou.core.model import Intent, OrderRole
from kamou.exchange.embedded import SimulatedExchange
from kamou.ids import make_trade_id
from kamou.settings.strategies import StrategySettings
from kamou.venue.market.recorded import RecordedMarket
from tests.actors import scripted_market
from tests.actors.system_harness import SETTINGS, Ended, at, run_system
from tests.core.trading_cases import D

RESTING = attrs.evolve(SETTINGS, strategies=StrategySettings(enabled=("resting",)))


def run(**given: Any) -> Ended:
    return run_system(**({"settings": RESTING} | given))


def entries(ended: Ended) -> dict[str, Intent]:
    sent = [event.intent for event in ended.of(IntentRecorded)]
    return {each.client_order_id: each for each in sent if each.role is OrderRole.ENTRY}


def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no bar trade through an entry, except at the moves of the script."""
    market = scripted_market.market

    def quiet() -> RecordedMarket:
        data = market().data
        bars = data.bars
        flat = (bars.low == 99.8) & (bars.high == 100.2)
        low, high = np.where(flat, 100.0, bars.low), np.where(flat, 100.0, bars.high)
        calm = attrs.evolve(bars, low=low, high=high)
        return scripted_market.record_market("still", calm, data.funding)

    monkeypatch.setattr(scripted_market, "market", quiet)


@pytest.mark.parametrize("attached_stop", [True, False])
def test_every_entry_rests_and_fills_as_maker_at_its_own_price(attached_stop: bool) -> None:
    ended = run(adapter=partial(SimulatedExchange, attached_stop=attached_stop))
    sent = entries(ended)
    assert sent
    assert all(each.post_only for each in sent.values())
    fills = [f for f in ended.fills if f.client_order_id in sent]
    assert fills
    for each in fills:
        assert each.maker
        assert each.price == sent[each.client_order_id].limit_price
    assert ended.checked.violations == ()
    assert ended.crashes == []


def test_shadow_entries_fill_as_makers_and_have_the_result_of_their_real_trades(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A whole bar between placing and deadline trades through every limit.

    AAA reaches its target in the bar in which the shadow entry fills, where it does not count.
    FFF is stopped in the bar in which its entry was placed, where a stop has its own price.
    """
    monkeypatch.setattr(scripted_market, "REST_MS", 150_000)
    ended = run(shadow_book=True)
    opened = {t.shadow_id: t for e in ended.of(ShadowTradesOpened) for t in e.trades}
    closed = {t.shadow_id: t for e in ended.of(ShadowTradesClosed) for t in e.trades}
    real = {trade.trade_id: trade for trade in ended.of(TradeClosed)}
    assert opened
    for trade in opened.values():
        assert trade.entry_price == trade.planned_entry
        assert trade.slippage == 0
        units = trade.quantity * trade.contract_size
        assert abs(trade.fee - trade.entry_price * units * trade.target_fee_rate) <= D("1e-8")
        assert trade.target_fee_rate < trade.fee_rate
    pairs = {
        closed[each].symbol: (closed[each], real[make_trade_id(each)])
        for each in closed
        if make_trade_id(each) in real
    }
    assert set(pairs) == {"AAA", "BBB", "CCC", "DDD", "EEE", "FFF"}
    assert pairs.pop("AAA")[0].r < 0
    stopped, gapped = pairs.pop("FFF")
    assert stopped.reason is gapped.exit_reason is ExitReason.STOP_LOSS
    for shadow, other in pairs.values():
        assert (shadow.reason, shadow.exit_price) == (other.exit_reason, other.exit_price)
        assert shadow.r == other.r_multiple
    assert ended.crashes == []


def test_a_shadow_entry_without_a_price_beyond_its_limit_opens_no_trade(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    still(monkeypatch)
    ended = run(minutes=2.5, shadow_book=True)
    first = {e.candidates[0].candidate.bar_closed_at_ms for e in ended.of(CandidatesRefined)}
    skipped = [s for e in ended.of(ShadowTradesOpened) for s in e.skipped]
    unfilled = [s for s in skipped if s.denial.code == Deny.ENTRY_UNFILLED]
    assert {s.symbol for s in unfilled} == {"AAA", "BBB", "CCC"}
    assert all(s.shadow_id.startswith(str(min(first))) for s in unfilled)
    assert not any(e.trades for e in ended.of(ShadowTradesOpened))
    assert ended.crashes == []


def test_an_entry_that_no_bar_trades_through_is_canceled_at_its_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    still(monkeypatch)
    ended = run(minutes=3)
    sent = entries(ended)
    canceled = {e.client_order_id: e for e in ended.of(CancelRequested)}
    first = [i for i in sent.values() if i.symbol == "CCC"]
    assert first
    for each in first:
        late_ms = (
            canceled[each.client_order_id].at_ms - each.intended_at_ms - scripted_market.REST_MS
        )
        assert 0 <= late_ms <= 1_000
        assert not ended.book.orders.of_symbol(each.symbol)
        assert each.permit_id not in ended.book.permits.reservations
    assert "CCC" not in ended.book.trades.open
    assert ended.crashes == []


def test_an_orderly_stop_cancels_resting_entries_and_keeps_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    still(monkeypatch)
    ended = run(minutes=1)
    sent = entries(ended)
    assert sent
    assert {e.client_order_id for e in ended.of(OrderClosed)} >= set(sent)
    assert not [o for o in ended.orders if not o.reduce_only]
    assert ended.book.permits.reservations == {}
    assert ended.crashes == []


def test_an_entry_that_would_take_is_rejected_and_not_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = SimulatedExchange._place

    async def crossing(self: Any, intent: Intent, attached: Any) -> Any:
        if intent.role is OrderRole.ENTRY:
            assert intent.limit_price is not None
            beyond = intent.limit_price + intent.side.sign
            intent = attrs.evolve(intent, limit_price=beyond)
        return await place(self, intent, attached)

    monkeypatch.setattr(SimulatedExchange, "_place", crossing)
    ended = run()
    sent, rejected = entries(ended), ended.of(OrderRejected)
    assert sent
    codes = {e.client_order_id: e.code for e in rejected if e.client_order_id in sent}
    assert codes == dict.fromkeys(sent, "POST_ONLY_WOULD_TAKE")
    assert len({i.trade_id for i in sent.values()}) == len(sent)
    released = {e.permit_id: e.reason for e in ended.of(PermitReleased)}
    assert {released[i.permit_id] for i in sent.values()} == {"POST_ONLY_WOULD_TAKE"}
    assert not ended.fills
    assert ended.crashes == []


def test_a_run_that_begins_after_the_deadline_of_a_resting_entry_cancels_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    still(monkeypatch)

    with monkeypatch.context() as killed:
        killed.setattr(OrderManager, "finish", _do_nothing)
        first = run(minutes=1, data_dir=tmp_path)
    resting = {o.client_order_id for o in first.orders if not o.reduce_only}
    assert resting
    again = run(begin_ms=at(2.6), minutes=2.6, data_dir=tmp_path)
    canceled = {e.client_order_id for e in again.of(CancelRequested)}
    assert resting <= canceled
    assert not resting & {o.client_order_id for o in again.orders}
    assert not resting & set(again.book.orders.unsettled)
    assert not resting & {e.fill.client_order_id for e in again.of(FillRecorded)}


async def _do_nothing(_self: Any) -> None:
    await trio.lowlevel.checkpoint()
