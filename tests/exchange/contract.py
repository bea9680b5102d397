"""Tests that every implementation of ``ExchangePort`` must pass.

A subclass supplies the ``venue`` fixture: a port on a flat account with a market in ``AAA`` at
about 100, tick 0.01, lot 1, contract size 0.1, deep enough for 100 contracts.
"""

from __future__ import annotations

import copy
import pickle
from decimal import Decimal
from typing import Any

import attrs
import pytest

from kamou.clock import Clock
from kamou.core.model import Intent, OrderReport, OrderRole, OrderStatus, OrderType, Plan, Side
from kamou.core.risk.verdict import Approved
from kamou.errors import InvalidPermitError, RejectedError
from kamou.exchange.base import ExchangePort
from tests.exchange.port_fakes import (
    SYMBOL,
    Latch,
    Permits,
    Proofs,
    approve,
    close_of,
    intents_of,
    plan_of,
    stop_of,
)

D = Decimal
TTL_MS = 30_000


@attrs.define(kw_only=True)
class VenueUnderTest:
    port: ExchangePort
    clock: Clock
    permits: Permits
    proofs: Proofs
    halted: Latch

    def permit(self, plan: Plan) -> Approved:
        self.permits.committed[plan.permit_id] = ""
        return approve(plan, self.clock.now_ms() + TTL_MS)

    async def enter(self, plan: Plan | None = None) -> OrderReport:
        plan = plan or plan_of()
        entry, attached = intents_of(plan, self.clock.now_ms())
        return await self.port.submit(self.permit(plan), entry, attached)

    async def refused(
        self, approved: Any, entry: Intent, attached: tuple[Intent, ...], code: str
    ) -> None:
        with pytest.raises(InvalidPermitError) as refusal:
            await self.port.submit(approved, entry, attached)
        assert refusal.value.code == code
        assert await self.port.order(entry.client_order_id) is None
        assert await self.port.positions() == ()


class PortContract:
    """Tests of one ``ExchangePort``; a subclass supplies the fixture ``venue``."""

    async def test_an_entry_fills_under_its_permit_and_its_stop_and_take_profit_rest(
        self, venue: VenueUnderTest
    ) -> None:
        order = await venue.enter()
        assert order.status is OrderStatus.FILLED
        (held,) = await venue.port.positions()
        assert (held.symbol, held.quantity, held.leverage) == (SYMBOL, D(100), 5)
        resting = {o.type: o for o in await venue.port.open_orders()}
        stop = resting[OrderType.STOP_MARKET]
        assert (stop.trigger_price, stop.quantity, stop.reduce_only) == (D("98"), D(100), True)
        assert resting[OrderType.LIMIT].quantity == 100
        assert await venue.port.order(order.client_order_id) == order
        (fill,) = await venue.port.fills(0)
        assert (fill.client_order_id, fill.quantity) == (order.client_order_id, D(100))
        assert venue.permits.committed[plan_of().permit_id] == order.client_order_id

    async def test_a_permit_is_used_once(self, venue: VenueUnderTest) -> None:
        plan = plan_of()
        approved = venue.permit(plan)
        entry, attached = intents_of(plan, venue.clock.now_ms())
        await venue.port.submit(approved, entry, attached)
        with pytest.raises(InvalidPermitError, match="PERMIT_USED"):
            await venue.port.submit(approved, entry, attached)
        assert len(await venue.port.fills(0)) == 1

    async def test_a_permit_without_a_committed_row_is_invalid(self, venue: VenueUnderTest) -> None:
        plan = plan_of()
        entry, attached = intents_of(plan, venue.clock.now_ms())
        approved = approve(plan, venue.clock.now_ms() + TTL_MS)
        await venue.refused(approved, entry, attached, "PERMIT_UNCOMMITTED")

    async def test_a_forged_permit_is_invalid_and_a_genuine_one_cannot_be_copied_or_made_elsewhere(
        self, venue: VenueUnderTest
    ) -> None:
        plan = plan_of()
        genuine = venue.permit(plan)
        entry, attached = intents_of(plan, venue.clock.now_ms())
        forged = object.__new__(Approved)
        for name in ("permit_id", "symbol", "side", "quantity_max", "stop_price"):
            object.__setattr__(forged, name, getattr(genuine, name))
        object.__setattr__(forged, "expires_at_ms", genuine.expires_at_ms)
        await venue.refused(forged, entry, attached, "PERMIT_NOT_GENUINE")
        await venue.refused(plan, entry, attached, "PERMIT_NOT_GENUINE")
        for way in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError):
                way(genuine)
        with pytest.raises(TypeError):
            Approved(mint=object(), plan=plan, snapshot_seq=1, expires_at_ms=genuine.expires_at_ms)

    async def test_an_expired_permit_is_invalid(self, venue: VenueUnderTest) -> None:
        plan = plan_of()
        approved = venue.permit(plan)
        entry, attached = intents_of(plan, venue.clock.now_ms())
        await venue.clock.sleep_until(approved.expires_at_ms)
        await venue.refused(approved, entry, attached, "PERMIT_EXPIRED")

    async def test_a_set_halt_latch_stops_entries_but_no_exit(self, venue: VenueUnderTest) -> None:
        await venue.enter()
        venue.halted.closed = True
        plan = plan_of("2.test.AAA")
        entry, attached = intents_of(plan, venue.clock.now_ms())
        with pytest.raises(InvalidPermitError, match="HALT_LATCHED"):
            await venue.port.submit(venue.permit(plan), entry, attached)
        assert venue.permits.committed[plan.permit_id] == ""
        done = await venue.port.reduce(close_of(100), proved=True)
        assert done.status is OrderStatus.FILLED

    @pytest.mark.parametrize(
        "changes",
        [
            {"quantity": D(101)},
            {"quantity": D(0)},
            {"symbol": "BBB"},
            {"permit_id": "another"},
            {"role": OrderRole.EXIT},
            {"reduce_only": True},
        ],
    )
    async def test_an_order_that_differs_from_its_permit_is_denied(
        self, venue: VenueUnderTest, changes: dict[str, Any]
    ) -> None:
        plan = plan_of()
        entry, attached = intents_of(plan, venue.clock.now_ms())
        other = attrs.evolve(entry, **changes)
        await venue.refused(venue.permit(plan), other, attached, "PERMIT_MISMATCH")

    async def test_an_entry_on_the_other_side_than_its_permit_is_denied(
        self, venue: VenueUnderTest
    ) -> None:
        plan = plan_of()
        turned = plan_of(side=Side.SHORT)
        entry, attached = intents_of(turned, venue.clock.now_ms())
        await venue.refused(venue.permit(plan), entry, attached, "PERMIT_MISMATCH")

    @pytest.mark.parametrize(
        ("stop_changes", "code"),
        [
            ({"trigger_price": D("97")}, "STOP_NOT_ATTACHED"),
            ({"quantity": D(99)}, "STOP_NOT_ATTACHED"),
            ({"type": OrderType.TAKE_PROFIT_MARKET}, "STOP_NOT_ATTACHED"),
            ({"role": OrderRole.TAKE_PROFIT}, "STOP_NOT_ATTACHED"),
            ({"reduce_only": False}, "ATTACHED_NOT_REDUCING"),
            ({"symbol": "BBB"}, "ATTACHED_NOT_REDUCING"),
            ({"role": OrderRole.ENTRY}, "ATTACHED_NOT_REDUCING"),
        ],
    )
    async def test_an_entry_whose_attached_stop_is_not_the_approved_one_is_denied(
        self, venue: VenueUnderTest, stop_changes: dict[str, Any], code: str
    ) -> None:
        plan = plan_of()
        entry, (stop, target) = intents_of(plan, venue.clock.now_ms())
        attached = (attrs.evolve(stop, **stop_changes), target)
        await venue.refused(venue.permit(plan), entry, attached, code)

    async def test_an_entry_without_any_stop_is_denied(self, venue: VenueUnderTest) -> None:
        plan = plan_of()
        entry, _ = intents_of(plan, venue.clock.now_ms())
        await venue.refused(venue.permit(plan), entry, (), "STOP_NOT_ATTACHED")

    async def test_a_reducing_order_is_proved_against_the_venue_and_journalled_unless_proved_before(
        self, venue: VenueUnderTest
    ) -> None:
        await venue.enter()
        close = close_of(60)
        await venue.port.reduce(close)
        (proof,) = venue.proofs.journalled
        assert (proof.client_order_id, proof.position, proof.quantity) == (
            close.client_order_id,
            D(100),
            D(60),
        )
        assert (await venue.port.positions())[0].quantity == 40
        stop = stop_of(40, "97")
        assert (await venue.port.reduce(stop, proved=True)).status is OrderStatus.ACCEPTED
        assert (
            len(venue.proofs.journalled) == 1
        )  # ``proved``: the governor has proved and journalled it

    @pytest.mark.parametrize(
        "order",
        [close_of(101), close_of(10, side=Side.SHORT), stop_of(300, "97")],
        ids=["larger", "same side", "reversing"],
    )
    async def test_a_reduction_that_would_add_or_reverse_exposure_is_denied(
        self, venue: VenueUnderTest, order: Intent
    ) -> None:
        await venue.enter()
        with pytest.raises(InvalidPermitError, match="EXIT_INCREASES_EXPOSURE"):
            await venue.port.reduce(order)
        assert venue.proofs.journalled == []
        assert (await venue.port.positions())[0].quantity == 100

    async def test_a_reduction_without_a_position_is_denied_and_if_proved_rejected(
        self, venue: VenueUnderTest
    ) -> None:
        with pytest.raises(InvalidPermitError, match="EXIT_INCREASES_EXPOSURE"):
            await venue.port.reduce(close_of(1))
        with pytest.raises(RejectedError, match="REDUCE_ONLY"):
            await venue.port.reduce(close_of(1), proved=True)

    async def test_the_port_denies_a_reduction_that_is_an_entry_or_not_reduce_only(
        self, venue: VenueUnderTest
    ) -> None:
        entry, _ = intents_of(plan_of(), venue.clock.now_ms())
        for order in (entry, attrs.evolve(close_of(10), reduce_only=False)):
            with pytest.raises(InvalidPermitError, match="NOT_REDUCING"):
                await venue.port.reduce(order, proved=True)

    async def test_canceling_an_order_twice_succeeds(self, venue: VenueUnderTest) -> None:
        await venue.enter()
        stop = next(o for o in await venue.port.open_orders() if o.trigger_price)
        await venue.port.cancel(stop.client_order_id, SYMBOL)
        await venue.port.cancel(stop.client_order_id, SYMBOL)
        ended = await venue.port.order(stop.client_order_id)
        assert ended is not None
        assert ended.status is OrderStatus.CANCELED

    async def test_a_client_order_id_is_accepted_once(self, venue: VenueUnderTest) -> None:
        await venue.enter()
        await venue.port.reduce(stop_of(100, "97"), proved=True)
        with pytest.raises(RejectedError, match="DUPLICATE_CLIENT_ID"):
            await venue.port.reduce(stop_of(100, "97"), proved=True)

    async def test_fills_and_order_changes_are_pushed(self, venue: VenueUnderTest) -> None:
        events = venue.port.events()
        order = await venue.enter()
        pushed = [events.receive_nowait() for _ in range(events.statistics().current_buffer_used)]
        assert any(getattr(e, "fill", None) for e in pushed)
        assert any(getattr(e, "order", None) == order for e in pushed)

    async def test_equity_is_wallet_balance_plus_unrealized_pnl(
        self, venue: VenueUnderTest
    ) -> None:
        await venue.enter()
        account = await venue.port.account()
        (held,) = await venue.port.positions()
        assert account.equity == account.wallet_balance + account.unrealized_pnl
        assert account.unrealized_pnl == held.unrealized_pnl
        assert account.margin_used == held.margin

    async def test_the_api_key_may_trade_but_not_withdraw_or_transfer(
        self, venue: VenueUnderTest
    ) -> None:
        may = await venue.port.permissions()
        assert (may.trade, may.withdraw, may.transfer) == (True, False, False)

    async def test_no_bar_is_served_before_it_closed(self, venue: VenueUnderTest) -> None:
        now_ms = await venue.port.server_time_ms()
        bars = await venue.port.bars(300_000, now_ms - 1_500_000, now_ms + 1_500_000)
        assert len(bars.open_ms)
        assert bars.open_ms[-1] + bars.period_ms <= now_ms

    async def test_funding_open_interest_and_order_flow_of_the_future_are_not_served(
        self, venue: VenueUnderTest
    ) -> None:
        now_ms = await venue.port.server_time_ms()
        later_ms = now_ms + 86_400_000
        for series in (
            await venue.port.funding_rates(0, later_ms),
            await venue.port.open_interest(0, later_ms),
        ):
            assert not (series.available_ms > now_ms).any()
        flow = await venue.port.flow_windows(0, later_ms)
        assert not (flow.end_ms > now_ms).any()

    async def test_a_past_mark_is_the_mark_that_the_position_was_valued_at_then(
        self, venue: VenueUnderTest
    ) -> None:
        if not venue.port.capabilities.mark_history:
            return
        await venue.enter()
        (held,) = await venue.port.positions()
        then_ms = await venue.port.server_time_ms()
        await venue.clock.sleep_until(then_ms + 1_000_000)
        marks = await venue.port.marks_at((SYMBOL, "NONE"), then_ms)
        assert marks == {SYMBOL: held.mark_price}

    async def test_a_mark_of_the_future_is_not_served(self, venue: VenueUnderTest) -> None:
        if venue.port.capabilities.mark_history:
            now_ms = await venue.port.server_time_ms()
            assert await venue.port.marks_at((SYMBOL,), now_ms + 60_000) == {}

    async def test_quotes_have_the_present_time_of_the_venue_and_are_not_crossed(
        self, venue: VenueUnderTest
    ) -> None:
        quote = (await venue.port.quotes((SYMBOL, "NONE")))[SYMBOL]
        assert quote.bid <= quote.mark <= quote.ask
        assert quote.at_ms == await venue.port.server_time_ms()

    async def test_each_instrument_is_listed_once(self, venue: VenueUnderTest) -> None:
        names = [i.symbol for i in await venue.port.instruments()]
        assert len(names) == len(set(names))
        assert SYMBOL in names

    async def test_an_order_that_the_venue_never_got_is_none_and_a_new_account_has_no_income(
        self, venue: VenueUnderTest
    ) -> None:
        assert await venue.port.order("km-never") is None
        assert await venue.port.income(0) == ()
