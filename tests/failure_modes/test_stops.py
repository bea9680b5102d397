"""Stops that are lost, unconfirmed or orphaned; take-profits that block an exit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from kamou.actors.order_executor import OrderExecutor
from kamou.actors.protection import Protector
from kamou.core.book.events import IntentRecorded, StopConfirmed, TradeClosed
from kamou.core.book.trades import OpenTrade
from kamou.core.model import Intent, OrderReport, OrderRole, OrderStatus, OrderType
from kamou.core.reconciliation import orphan_orders, protection, reconciliation
from kamou.errors import RejectedError, UnknownOutcomeError
from tests.actors.system_harness import SETTINGS, Ended, Harness, at
from tests.actors.trouble import stops_of
from tests.failure_modes.harness import (
    HELD,
    D,
    Line,
    between_runs,
    find_errors,
    first_order_id,
    place_external_order,
    play,
    position_at,
    select_errors,
    stops_at,
)

APART = attrs.evolve(SETTINGS, exchange=attrs.evolve(SETTINGS.exchange, attached_stop=False))


# --- lost and rejected stops -----------------------------------------------------------------


def test_a_stop_that_is_gone_after_a_restart_is_placed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost stop: OctoBot#3190, freqtrade#12610, freqtrade#7927, passivbot#477."""

    def run_case(data_dir: Path) -> list[str]:
        play(data_dir=data_dir, minutes=2.5)
        with between_runs(data_dir, 2.95) as venue:
            (stop,) = [o for o in venue.open_orders() if stops_of(HELD)(o)]
            venue.cancel(stop.client_order_id)
        return find_errors(play(data_dir=data_dir, begin_ms=at(3)))

    assert run_case(tmp_path / "kamou") == []

    # Naive: a start compares positions and trusts the journal about orders.
    monkeypatch.setattr(reconciliation._Work, "protection", lambda self: ())
    monkeypatch.setattr(reconciliation, "unresolved_orders", lambda *_: ())
    assert select_errors(run_case(tmp_path / "naive"), "UNPROTECTED")


class RefusesStops(Line):
    """A venue that rejects the separate stops of one symbol."""

    async def _place(self, intent: Intent, attached: tuple[Intent, ...]) -> OrderReport:
        if intent.role is OrderRole.STOP_LOSS and intent.symbol == HELD:
            raise RejectedError("STOP_PRICE_INVALID", "not today")
        return await super()._place(intent, attached)


def test_a_position_whose_stop_is_rejected_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A failure that was only logged: OctoBot#3190, freqtrade#12610, passivbot#477."""

    def run_case() -> Ended:
        return play(venue=RefusesStops, settings=APART)

    ended = run_case()
    assert find_errors(ended) == []
    (closed,) = [e for e in ended.of(TradeClosed) if e.symbol == HELD]
    assert closed.exit_reason == "exit"

    # Naive: one attempt to place a stop, without an exit.
    async def logged(self: Protector, trade: OpenTrade, action: protection.Action) -> None:
        if isinstance(action, protection.ConfirmStop | protection.PlaceStop):
            await original(self, trade, action)

    original = Protector._do
    monkeypatch.setattr(Protector, "_do", logged)
    assert select_errors(find_errors(run_case()), "UNPROTECTED")


class RefusesStopsAndIsSilent(RefusesStops):
    """As ``RefusesStops``; the first two exits of the symbol neither arrive nor get an answer."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.sent: list[OrderRole] = []

    async def _place(self, intent: Intent, attached: tuple[Intent, ...]) -> OrderReport:
        if intent.symbol == HELD and intent.role in (OrderRole.STOP_LOSS, OrderRole.EXIT):
            self.sent.append(intent.role)
        if (
            intent.symbol == HELD
            and intent.role is OrderRole.EXIT
            and self.sent.count(OrderRole.EXIT) <= 2
        ):
            raise UnknownOutcomeError("no answer")
        return await super()._place(intent, attached)


def test_after_a_lost_exit_and_a_rejected_stop_the_next_exits_are_sent_without_a_stop_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A rejected stop may cost seconds without protection (seed 930189 of the simulations)."""

    def run_case() -> tuple[Ended, list[OrderRole]]:
        ended = play(venue=RefusesStopsAndIsSilent, settings=APART)
        roles = [e.intent.role for e in ended.of(IntentRecorded) if e.intent.symbol == HELD]
        return ended, roles[roles.index(OrderRole.EXIT) :][:4]

    ended, roles = run_case()
    assert find_errors(ended) == []
    assert roles == [OrderRole.EXIT, OrderRole.STOP_LOSS, OrderRole.EXIT, OrderRole.EXIT]

    # Naive: a rejection of a stop is forgotten at once.
    def forgetful(*args: Any, **more: Any) -> tuple[protection.Action, ...]:
        failures = attrs.evolve(more["failures"], stop_rejected=False)
        return original(*args, **(more | {"failures": failures}))

    original = protection.protect
    monkeypatch.setattr(protection, "protect", forgetful)
    _, roles = run_case()
    assert roles.count(OrderRole.EXIT) < 3


class AcceptsAndForgets(Line):
    """A venue that accepts the first stop of one symbol and loses it."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.forgotten: set[str] = set()

    async def _place(self, intent: Intent, attached: tuple[Intent, ...]) -> OrderReport:
        if intent.role is not OrderRole.STOP_LOSS or intent.symbol != HELD or self.forgotten:
            return await super()._place(intent, attached)
        self.forgotten.add(intent.client_order_id)
        now_ms = await self.server_time_ms()
        return OrderReport(
            client_order_id=intent.client_order_id,
            venue_order_id="none",
            symbol=intent.symbol,
            side=intent.side,
            type=intent.type,
            status=OrderStatus.ACCEPTED,
            quantity=intent.quantity,
            filled=D(0),
            average_price=None,
            limit_price=None,
            trigger_price=intent.trigger_price,
            reduce_only=True,
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
        )


def test_an_accepted_stop_protects_only_after_it_is_read_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A placed stop that was missing: OctoBot#3190, freqtrade#7927, passivbot#477."""

    def run_case() -> Ended:
        return play(venue=AcceptsAndForgets, settings=APART)

    ended = run_case()
    assert find_errors(ended) == []
    assert first_order_id(ended, HELD, OrderRole.STOP_LOSS) not in {
        e.client_order_id for e in ended.of(StopConfirmed)
    }

    # Naive: an accepted stop counts as protection.
    async def believing(self: OrderExecutor, intent: Intent) -> OrderStatus | None:
        report = await original(self, intent)
        assert report is not None
        if intent.role is OrderRole.STOP_LOSS and not report.terminal:
            assert intent.trigger_price is not None
            await self.commit(
                StopConfirmed(
                    at_ms=self.clock.now_ms(),
                    symbol=intent.symbol,
                    client_order_id=intent.client_order_id,
                    quantity=intent.quantity,
                    trigger_price=intent.trigger_price,
                )
            )
        return report

    original = OrderExecutor.reduce
    monkeypatch.setattr(OrderExecutor, "reduce", believing)
    monkeypatch.setattr(protection, "protect", _unless(protection.protect))
    assert select_errors(find_errors(run_case()), "UNPROTECTED")


def _unless(protect: Callable[..., Any]) -> Callable[..., Any]:
    """Make the protection naive: it trusts the journal about protected positions."""

    def believing(trade: OpenTrade, *args: Any, **more: Any) -> Any:
        return () if trade.protected else protect(trade, *args, **more)

    return believing


# --- orphan orders, and orders that block an exit --------------------------------------------


def test_stops_and_take_profits_without_a_position_are_canceled_as_orphan_orders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Orphan stops: freqtrade#12681, hummingbot#2596."""
    assert find_errors(play()) == []

    # Naive: the other orders of a closed position stay.
    for module in (protection, orphan_orders):
        monkeypatch.setattr(module, "cancel_orphans", lambda trades, orders: ())
    assert select_errors(find_errors(play()), "orders without a position")


class OneReduction(Line):
    """A venue that counts resting take-profits against the size of an exit."""

    async def _place(self, intent: Intent, attached: tuple[Intent, ...]) -> OrderReport:
        if intent.role is OrderRole.EXIT:
            await self.server_time_ms()
            resting = sum(
                order.quantity - order.filled
                for order in self.engine.open_orders()
                if order.symbol == intent.symbol and order.type is OrderType.LIMIT
            )
            held = {p.symbol: abs(p.quantity) for p in self.engine.positions()}
            if intent.quantity + resting > held.get(intent.symbol, D(0)):
                raise RejectedError("REDUCE_ONLY_REJECTED", "orders to reduce exceed the position")
        return await super()._place(intent, attached)


def test_an_exit_is_not_blocked_by_a_resting_take_profit_of_full_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A full-size reduce-only order blocked an exit: freqtrade#12681, hummingbot#2596."""
    ended = play(venue=OneReduction)
    assert find_errors(ended) == []
    (closed,) = [e for e in ended.of(TradeClosed) if e.symbol == HELD]
    assert closed.exit_reason == "time_limit"

    # Naive: the exit is sent while the take-profit rests.
    async def leaving(self: OrderExecutor, client_order_id: str, symbol: str, reason: str) -> None:
        order = self.book.orders.find(client_order_id)
        if reason != "time limit" or order is None or order.role is not OrderRole.TAKE_PROFIT:
            await original(self, client_order_id, symbol, reason)

    original = OrderExecutor.cancel
    monkeypatch.setattr(OrderExecutor, "cancel", leaving)
    ended = play(venue=OneReduction)
    assert HELD in {position.symbol for position in ended.positions}


# --- the quantity of a stop ------------------------------------------------------------------


def test_the_stop_covers_the_filled_quantity_and_grows_with_the_position(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stop that does not cover a partial fill: freqtrade#8374."""

    def run_case() -> tuple[list[str], dict[str, list[object]]]:
        seen: dict[str, list[object]] = {}

        async def direct(harness: Harness) -> None:
            await harness.until(1.3)  # CCC filled in part, at minute one
            seen["part"] = [position_at(harness, "CCC"), *_sizes(harness, "CCC")]
            await place_external_order(harness, "CCC", D(4))  # like a later fill
            await harness.until(2.3)
            seen["more"] = [position_at(harness, "CCC"), *_sizes(harness, "CCC")]

        return find_errors(play(settings=APART, direct=direct)), seen

    found, seen = run_case()
    assert [line for line in found if "by-hand" not in line and "drift" not in line] == []
    (part, stop), (more, larger) = seen.values()
    assert (part, more) == (stop, larger) == (D(6), D(10))

    # Naive: a stop of any size counts as protection.
    def any_size(trade: OpenTrade, *args: Any, **more: Any) -> Any:
        return protect(attrs.evolve(trade, entered=trade.exited + D("0.1")), *args, **more)

    protect = protection.protect
    for module in (protection, reconciliation):
        monkeypatch.setattr(module, "protect", any_size)
    monkeypatch.setattr(reconciliation, "is_covered", lambda *args: True)
    assert select_errors(run_case()[0], "UNPROTECTED")


def _sizes(harness: Harness, symbol: str) -> list[object]:
    return [order.quantity - order.filled for order in stops_at(harness, symbol)]
