"""Unknown outcomes, an unreachable venue, and positions that changed between runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from kamou.actors.order_executor import OrderExecutor, OrderExecutorSettings
from kamou.actors.protection import Protector
from kamou.core.book.events import (
    FillRecorded,
    OrderClosed,
    OrderUnknown,
    PositionAdopted,
    StateChanged,
    TradeClosed,
)
from kamou.core.book.orders import IN_FLIGHT, OrderState
from kamou.core.model import (
    Account,
    Intent,
    OrderReport,
    OrderRole,
    OrderStatus,
    PositionReport,
    TradingState,
)
from kamou.core.reconciliation import adoption as adopting
from kamou.core.reconciliation import reconciliation
from kamou.errors import UnknownOutcomeError, UnreachableError
from tests.actors import scripted_market
from tests.actors.system_harness import SETTINGS, Ended, Harness, at
from tests.actors.trouble import ALL, REJECTED, UNANSWERED, UNREACHABLE, Trouble, every
from tests.failure_modes.harness import (
    HELD,
    D,
    Line,
    between_runs,
    compare_own_symbols_only,
    external_order,
    find_errors,
    first_order_id,
    place_external_order,
    play,
    select_errors,
)

# --- unknown outcomes ------------------------------------------------------------------------


class Resends(Line):
    """Naive: an order that timed out is sent again, under a new client order id."""

    async def _place(self, intent: Intent, attached: tuple[Intent, ...]) -> OrderReport:
        try:
            return await super()._place(intent, attached)
        except UnknownOutcomeError:
            again = attrs.evolve(intent, client_order_id=f"{intent.client_order_id[:-1]}-")
            self.trouble.fate = lambda intent: ""
            return await super()._place(again, ())


def test_an_entry_that_timed_out_is_found_at_the_venue_and_not_sent_again() -> None:
    """A duplicate after a timeout: hummingbot#493, #601, nautilus_trader#4215."""

    def run_case(venue: type[Line]) -> Ended:
        return play(Trouble(fate=every(OrderRole.ENTRY, UNANSWERED, HELD)), venue)

    ended = run_case(Line)
    assert find_errors(ended) == []
    assert [e.client_order_id for e in ended.of(OrderUnknown)] == [first_order_id(ended, HELD)]
    assert HELD in {e.symbol for e in ended.of(TradeClosed)}

    assert select_errors(
        find_errors(run_case(Resends)), "EXPOSURE"
    )  # the position is twice what was allowed


def test_the_risk_of_an_order_stays_reserved_while_the_venue_is_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An order forgotten in an outage: hummingbot#8457, nautilus_trader#4152, #4958."""

    def run_case() -> tuple[Ended, set[str]]:
        reserved: set[str] = set()

        def fate(intent: Intent) -> str:
            if intent.role is not OrderRole.ENTRY or intent.symbol != HELD:
                return ""
            trouble.away = ALL  # the answer is lost, and all reads fail
            return UNANSWERED

        trouble = Trouble(fate=fate)

        async def direct(harness: Harness) -> None:
            await harness.until(4.5)
            assert harness.session.engine.order(_entry(harness)) is not None  # the venue has it
            reserved.update(r.plan.symbol for r in harness.book().permits.reservations.values())
            trouble.away = frozenset()

        return play(trouble, direct=direct), reserved

    ended, reserved = run_case()
    assert find_errors(ended) == []
    assert HELD in {e.symbol for e in ended.of(TradeClosed)}
    assert HELD in reserved  # its risk is reserved as long as the order may exist

    # Naive: after three queries without an answer the order counts as ended.
    asked: list[str] = []

    async def gives_up(self: OrderExecutor, known: OrderState) -> None:
        await original(self, known)
        asked.append(known.client_order_id)
        now = self.book.orders.unsettled.get(known.client_order_id)
        if now is not None and now.status in IN_FLIGHT and asked.count(known.client_order_id) >= 3:
            await self.commit(_ended(now, self.clock.now_ms()))

    original = OrderExecutor.resolve
    monkeypatch.setattr(OrderExecutor, "resolve", gives_up)
    assert HELD not in run_case()[1]  # Kamou could have taken the risk twice


def _entry(harness: Harness) -> str:
    book = harness.book()
    orders = (*book.orders.unsettled.values(), *book.orders.settled.values())
    return next(
        o.client_order_id for o in orders if o.role is OrderRole.ENTRY and o.intent.symbol == HELD
    )


def _ended(order: OrderState, at_ms: int) -> OrderClosed:
    return OrderClosed(
        at_ms=at_ms,
        client_order_id=order.client_order_id,
        status=OrderStatus.EXPIRED,
        filled=D(0),
        reason="given up",
    )


class LearnsLate(Line):
    """A venue that finds an order only some seconds after it was accepted."""

    async def order(self, client_order_id: str) -> OrderReport | None:
        found = await super().order(client_order_id)
        young = found is not None and self._clock.now_ms() - found.created_at_ms < 6_000
        return None if young else found

    async def positions(self) -> tuple[PositionReport, ...]:
        """Return the positions that are at least 6 s old."""
        held = await super().positions()
        return tuple(p for p in held if self._clock.now_ms() - p.updated_at_ms >= 6_000)


def test_an_order_that_the_venue_finds_6_s_late_does_not_expire(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A venue that finds orders late: hummingbot#8457, nautilus_trader#4152, #4958."""

    def run_case() -> Ended:
        trouble = Trouble(fate=every(OrderRole.ENTRY, UNANSWERED, HELD))

        async def direct(harness: Harness) -> None:
            await harness.until(1.9)
            trouble.away = frozenset({"stream"})
            await harness.until(2.5)
            trouble.away = frozenset()

        return play(trouble, LearnsLate, direct=direct)

    def ends(ended: Ended) -> set[OrderStatus]:
        name = first_order_id(ended, HELD)
        return {e.status for e in ended.of(OrderClosed) if e.client_order_id == name}

    assert OrderStatus.EXPIRED not in ends(run_case())

    # Naive: an order that is not found counts as expired at once.
    original = OrderExecutorSettings.__init__
    monkeypatch.setattr(
        OrderExecutorSettings, "__init__", lambda self: original(self, not_found_after_ms=0)
    )
    assert OrderStatus.EXPIRED in ends(run_case())


# --- an unreachable venue --------------------------------------------------------------------

HOUR = 60  # minutes
AGAIN = 66  # the minute of a signal after the outage


class ReadsFlat(Line):
    """Naive: a failed read is an empty list, and the account is unchanged."""

    account_report: Account | None = None

    async def account(self) -> Account:
        try:
            self.account_report = await super().account()
        except UnreachableError:
            assert self.account_report is not None
        return self.account_report

    async def positions(self) -> tuple[PositionReport, ...]:
        try:
            return await super().positions()
        except UnreachableError:
            return ()

    async def open_orders(self) -> tuple[OrderReport, ...]:
        try:
            return await super().open_orders()
        except UnreachableError:
            return ()

    async def fills(self, since_ms: int) -> tuple[Any, ...]:
        return () if self.trouble.away else await super().fills(since_ms)


def test_after_an_hour_of_maintenance_the_book_matches_the_venue_and_stops_still_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The exchange is down for an hour: freqtrade#4491, freqtrade#4770."""
    monkeypatch.setattr(scripted_market, "MINUTES", AGAIN + 4)
    monkeypatch.setitem(scripted_market.LINES, AGAIN, (scripted_market.Line("BBB", 0.9),))

    def run_case(venue: type[Line] = Line, minutes_away: int = HOUR) -> Ended:
        trouble = Trouble()

        async def direct(harness: Harness) -> None:
            await harness.until(2.5)
            trouble.away, trouble.cancel = ALL, "lost"
            trouble.fate = lambda intent: UNREACHABLE
            await harness.until(2.5 + minutes_away)
            trouble.away, trouble.cancel, trouble.fate = frozenset(), "", lambda intent: ""

        return play(trouble, venue, direct=direct, minutes=AGAIN + 4)

    ended = run_case()
    assert find_errors(ended, AGAIN + 4) == []
    away = [i for i in ended.of(FillRecorded) if at(3) < i.fill.at_ms < at(60)]
    assert away  # stops and take-profits filled, and the book has their fills
    assert ended.book.trades.position("BBB") > 0  # trading goes on

    # Naive, for one minute: in an hour it would send hundreds of new orders.
    found = find_errors(run_case(ReadsFlat, minutes_away=1), AGAIN + 4)
    assert select_errors(found, "PositionCorrected")  # the position was booked as closed


# --- external exits --------------------------------------------------------------------------


def test_an_exit_that_is_rejected_because_the_position_is_gone_does_not_start_flattening(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An external exit: nautilus_trader#3104, hummingbot#3324."""
    apart = attrs.evolve(SETTINGS, exchange=attrs.evolve(SETTINGS.exchange, attached_stop=False))

    def reasons() -> list[str]:
        trouble = Trouble(fate=every(OrderRole.STOP_LOSS, REJECTED, HELD))

        async def direct(harness: Harness) -> None:
            await harness.until(2.1)  # entered without an accepted stop: an exit is due
            trouble.away = frozenset(
                {"stream", "account"}
            )  # reconciliation reads no account either
            await place_external_order(harness, HELD, -harness.book().trades.position(HELD))
            await harness.until(4.5)
            trouble.away = frozenset()

        ended = play(trouble, direct=direct, settings=apart)
        return [changed.reason for changed in ended.of(StateChanged)]

    assert "PROTECTION_FAILED" not in reasons()

    # Naive: every rejection counts as a failure of protection.
    async def yes(self: Protector, symbol: str) -> bool:
        await trio.lowlevel.checkpoint()
        return True

    monkeypatch.setattr(Protector, "_may_be_open", yes)
    assert "PROTECTION_FAILED" in reasons()


# --- restarts into another position ----------------------------------------------------------


def takes_sizes_for_longs(monkeypatch: pytest.MonkeyPatch) -> None:
    def adoption(position: PositionReport, **more: Any) -> PositionAdopted:
        return original(attrs.evolve(position, quantity=abs(position.quantity)), **more)

    original = adopting.adopt_position
    monkeypatch.setattr(reconciliation, "adopt_position", adoption)


@pytest.mark.parametrize("naive", [compare_own_symbols_only, takes_sizes_for_longs])
def test_a_restart_adopts_the_venues_positions_with_their_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, naive: Any
) -> None:
    """Wrong sides: nautilus_trader#3104, #4736, freqtrade#9270, hummingbot#3324."""

    def run_case(data_dir: Path) -> Ended:
        before = play(data_dir=data_dir, minutes=2.5)
        held = before.book.trades.position(HELD)
        with between_runs(data_dir, 2.95) as venue:
            venue.place(external_order(HELD, -2 * held))  # reversed
            venue.place(external_order("HHH", D(3)))  # unknown to the journal
        return play(data_dir=data_dir, begin_ms=at(3), minutes=4.8)

    def theirs(ended: Ended) -> dict[str, Any]:
        return {p.symbol: p.quantity for p in ended.positions}

    ended = run_case(tmp_path / "kamou")
    assert {s: t.signed for s, t in ended.book.trades.open.items()} == theirs(ended)
    assert {HELD, "HHH"} <= {e.symbol for e in ended.of(PositionAdopted)}
    assert theirs(ended)[HELD] < 0
    assert all(t.protected for t in ended.book.trades.open.values())
    assert (TradingState.REDUCE_ONLY, "RECONCILE_MISMATCH") in [
        (e.after, e.reason) for e in ended.of(StateChanged)
    ]
    assert ended.checked.violations == ()

    naive(monkeypatch)
    ended = run_case(tmp_path / "naive")
    assert {s: t.signed for s, t in ended.book.trades.open.items()} != theirs(ended)
