"""Changes by the venue: delisting, auto-deleveraging, liquidation, missing margin.

Changes of an instrument are in ``test_venue_changes.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from kamou.core.book.book_trades import BookTrades
from kamou.core.book.events import (
    IntentRecorded,
    OrderRejected,
    PermitReleased,
    StateChanged,
    TradeClosed,
)
from kamou.core.book.orders import OrderState
from kamou.core.day import Day
from kamou.core.kinds import FillReason
from kamou.core.model import FillReport, Intent, OrderReport, OrderRole, Quote, TradingState
from kamou.errors import RejectedError
from kamou.venue.engine import Engine
from tests.actors import scripted_market
from tests.actors.system_harness import Ended, Harness
from tests.actors.trouble import Trouble
from tests.failure_modes.harness import (
    HELD,
    D,
    Line,
    find_errors,
    first_order_id,
    play,
    position_at,
    select_errors,
    stops_at,
)


def engine_of(harness: Harness) -> Engine:
    return harness.session.engine


async def by_force(harness: Harness, symbol: str, share: str, reason: str) -> None:
    """Let the venue take a share of the position now; its stream reports it."""
    await harness.tree.port.server_time_ms()  # moves the market to this minute
    assert engine_of(harness).close_by_force(symbol, D(share), FillReason(reason))
    harness.push_events()


def count_own_fills_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the book naive: fills without an order of its own do not count."""

    def find_owner(trades: BookTrades, fill: FillReport, order: OrderState | None) -> Any:
        return None if order is None else original(trades, fill, order)

    original = BookTrades.find_owner
    monkeypatch.setattr(BookTrades, "find_owner", find_owner)


def unexplained(found: list[str]) -> list[str]:
    """Return the errors about positions that differ or were corrected without a fill."""
    return select_errors(found, "positions: ") or select_errors(found, "PositionCorrected")


class Delisted(Line):
    """A venue that ends one market: it sends no quotes and accepts no order."""

    ended = False

    async def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        return await super().quotes(tuple(s for s in symbols if s != HELD or not self.ended))

    async def _place(self, intent: Intent, attached: tuple[Intent, ...]) -> OrderReport:
        if self.ended and intent.symbol == HELD:
            raise RejectedError("MARKET_CLOSED", "the contract is delisted")
        return await super()._place(intent, attached)


def test_a_delisted_position_is_held_until_the_venue_settles_it_and_is_then_booked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Delisting: the exit at the time limit is rejected; the venue settles later."""

    def run_case() -> Ended:
        async def direct(harness: Harness) -> None:
            await harness.until(6.5)
            port = harness.tree.port
            assert isinstance(port, Delisted)
            port.ended = True
            await harness.until(8.5)
            assert position_at(harness, HELD)  # beyond its time limit: the exit is rejected
            assert stops_at(harness, HELD)
            await by_force(harness, HELD, "1", "settlement")
            for order in stops_at(harness, HELD):
                harness.session.engine.cancel(order.client_order_id)

        return play(venue=Delisted, direct=direct)

    ended = run_case()
    assert find_errors(ended) == []
    (closed,) = [e for e in ended.of(TradeClosed) if e.symbol == HELD]
    assert closed.exit_reason == "delisting"

    count_own_fills_only(monkeypatch)
    assert unexplained(find_errors(run_case()))


def test_after_auto_deleveraging_book_and_stop_have_the_remaining_quantity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Auto-deleveraging: the venue takes half of a position."""

    def run_case() -> tuple[Ended, list[Any]]:
        seen: list[Any] = []

        async def direct(harness: Harness) -> None:
            await harness.until(4.4)
            await by_force(harness, HELD, "0.5", "adl")
            await harness.until(4.5)
            seen.append(abs(harness.book().trades.position(HELD)))
            await harness.until(5.5)
            seen.extend(o.quantity - o.filled for o in stops_at(harness, HELD))
            seen.append(abs(position_at(harness, HELD)))

        return play(direct=direct), seen

    ended, (booked, stop, listed) = run_case()
    assert find_errors(ended) == []
    assert booked == stop == listed

    count_own_fills_only(monkeypatch)
    assert unexplained(find_errors(run_case()[0]))


def count_stops_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the day's loss naive: it is 0, so no liquidation counts."""
    monkeypatch.setattr(Day, "loss", property(lambda day: D(0)))


@pytest.mark.parametrize("naive", [count_own_fills_only, count_stops_only])
def test_a_liquidation_closes_the_trade_and_counts_in_the_days_loss(
    monkeypatch: pytest.MonkeyPatch, naive: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """Liquidation: the market gaps through the stop and through the liquidation price."""
    monkeypatch.setitem(
        scripted_market.MOVES, (5, "FFF"), (-0.1, 300.0, 250.0)
    )  # low, high and close as distances from 100, where the short was entered

    def run_case() -> Ended:
        return play()

    def right(ended: Ended) -> bool:
        closed = [e.exit_reason for e in ended.of(TradeClosed) if e.symbol == "FFF"]
        halted = [e.reason for e in ended.of(StateChanged)]
        money = select_errors(find_errors(ended), "wallet balance")
        return closed == ["liquidation"] and "DAY_LOSS_HALF" in halted and not money

    assert right(run_case())
    naive(monkeypatch)
    assert not right(run_case())


class TriesAgain(Line):
    """Naive: a rejected order is sent again, smaller, under a new client order id."""

    async def _place(self, intent: Intent, attached: tuple[Intent, ...]) -> OrderReport:
        try:
            return await super()._place(intent, attached)
        except RejectedError:
            if intent.role is not OrderRole.ENTRY:
                raise
            again = attrs.evolve(
                intent, client_order_id=f"{intent.client_order_id[:-1]}-", quantity=D(1)
            )
            return await super()._place(again, ())


def test_an_entry_without_margin_is_rejected_and_frees_its_reservation() -> None:
    """Insufficient margin: money leaves the account just before the order arrives."""

    def run_case(venue: type[Line]) -> tuple[Ended, Trouble]:
        gone: list[Any] = []

        def fate(intent: Intent) -> str:
            if intent.role is OrderRole.ENTRY and intent.symbol == HELD and not gone:
                gone.append(engine[0].account().available)
                engine[0].transfer(-gone[0])
            return ""

        async def direct(harness: Harness) -> None:
            engine.append(engine_of(harness))
            await harness.until(3.5)
            engine_of(harness).transfer(gone[0])

        engine: list[Engine] = []
        trouble = Trouble(fate=fate)
        return play(trouble, venue, direct=direct), trouble

    ended, trouble = run_case(Line)
    assert find_errors(ended) == []
    name = first_order_id(ended, HELD)
    assert "MARGIN_INSUFFICIENT" in {e.code for e in ended.of(OrderRejected)}
    assert [i.symbol for i in trouble.sent if i.role is OrderRole.ENTRY].count(HELD) == 1
    released = {e.permit_id: e.reason for e in ended.of(PermitReleased)}
    intents = {e.intent.client_order_id: e.intent for e in ended.of(IntentRecorded)}
    assert released[intents[name].permit_id] == "MARGIN_INSUFFICIENT"
    assert "FFF" in {
        e.symbol for e in ended.of(TradeClosed)
    }  # trading continues when the money is back
    assert ended.book.trading.state is TradingState.ACTIVE

    ended, _ = run_case(TriesAgain)
    assert select_errors(find_errors(ended), "sent without an intent")
