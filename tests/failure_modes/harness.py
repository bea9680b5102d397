"""Runs of the whole system with faults of the venue, and the errors found in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from kamou.core.book.events import IntentRecorded
from kamou.core.book.updates import VenueEvent
from kamou.core.model import OrderReport, OrderRole, OrderSide, OrderType, TimeInForce
from kamou.core.reconciliation import reconciliation
from kamou.venue.engine import Engine
from kamou.venue.models import VenueModels
from kamou.venue.state import OrderRequest
from kamou.venue.store import VenueStore
from tests.actors import scripted_market
from tests.actors.account_of import faults
from tests.actors.system_harness import SETTINGS, Ended, Harness, at, run_system
from tests.actors.trouble import Trouble, TroubledExchange

D = Decimal
HELD = "DDD"  # its position is open from minute 2 to its time limit at minute 7


class Line(TroubledExchange):
    """A venue that loses its updates while the stream or everything is unreachable."""

    def _forward(self, events: list[VenueEvent]) -> None:
        if not self.trouble.away & {"stream", "*"}:
            super()._forward(events)


def play(
    trouble: Trouble | None = None,
    venue: type[Line] = Line,
    **more: Any,
) -> Ended:
    """Run the scripted market at a venue with faults or without."""
    if data_dir := more.get("data_dir"):
        data_dir.mkdir(exist_ok=True)
    return run_system(adapter=partial(venue, trouble=trouble or Trouble()), **more)


def find_errors(ended: Ended, until_minute: int = scripted_market.MINUTES) -> list[str]:
    """Return the faults of journal and venue that ``faults`` lists, and all crashes."""
    return [
        *faults(ended, until_minute=until_minute),
        *(f"crash: {exit_.error!r}" for exit_ in ended.crashes),
    ]


def select_errors(errors: list[str], text: str) -> list[str]:
    """Return the errors that contain a text: a naive version must fail for the right reason."""
    return [error for error in errors if text in error]


def first_order_id(ended: Ended, symbol: str, role: OrderRole = OrderRole.ENTRY) -> str:
    """Return the client order id of the first order of this role."""
    name: str = next(
        event.intent.client_order_id
        for event in ended.of(IntentRecorded)
        if event.intent.symbol == symbol and event.intent.role is role
    )
    return name


def stops_at(harness: Harness, symbol: str) -> list[OrderReport]:
    """Return the stops of a symbol that rest at the venue now."""
    return [
        order
        for order in harness.session.engine.open_orders()
        if order.symbol == symbol and order.type is OrderType.STOP_MARKET
    ]


def position_at(harness: Harness, symbol: str) -> Decimal:
    """Return the quantity of the venue's position, negative for a short."""
    held = {p.symbol: p.quantity for p in harness.session.engine.positions()}
    return held.get(symbol, D(0))


def external_order(
    symbol: str, quantity: Decimal, limit_price: Decimal | None = None
) -> OrderRequest:
    """Return an external order on the same account; a negative quantity sells."""
    return OrderRequest(
        client_order_id=f"by-hand-{symbol}",
        symbol=symbol,
        side=OrderSide.BUY if quantity > 0 else OrderSide.SELL,
        type=OrderType.MARKET if limit_price is None else OrderType.LIMIT,
        quantity=abs(quantity),
        limit_price=limit_price,
        time_in_force=TimeInForce.GTC if limit_price else TimeInForce.IOC,
        leverage=5,
    )


async def place_external_order(
    harness: Harness, symbol: str, quantity: Decimal, limit_price: Decimal | None = None
) -> None:
    """Place an external order now; the venue's stream reports it."""
    await harness.tree.port.server_time_ms()  # moves the market to this minute
    harness.session.engine.place(external_order(symbol, quantity, limit_price))
    harness.push_events()


@contextmanager
def between_runs(data_dir: Path, minute: float) -> Iterator[Engine]:
    """Yield the venue's engine at ``minute``, while no process of Kamou runs."""
    with closing(VenueStore(data_dir / "venue.sqlite3", durable=False)) as store:
        engine = Engine(
            scripted_market.market(),
            VenueModels.from_settings(SETTINGS.exchange, SETTINGS.costs),
            store,
            start_ms=scripted_market.START_MS,
            wallet_balance=SETTINGS.equity,
        )
        engine.advance(at(minute))
        yield engine
        engine.close()


def compare_own_symbols_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the reconciler naive: it compares only positions that the journal has."""

    def positions(work: Any) -> Any:
        held = [p for p in work.view.positions if p.symbol in work.before.trades.open]
        work.view = attrs.evolve(work.view, positions=tuple(held))
        return original(work)

    original = reconciliation._Work.positions
    monkeypatch.setattr(reconciliation._Work, "positions", positions)


def entries(ended: Ended, after_minute: float) -> list[str]:
    return [
        e.intent.symbol
        for e in ended.of(IntentRecorded)
        if e.intent.role is OrderRole.ENTRY and e.at_ms > at(after_minute)
    ]


def denied(ended: Ended) -> set[str]:
    """Return the codes of all vetoes and denials."""
    vetoed = (each for _, each in ended.vetoed)
    return {d.code for each in (*vetoed, *ended.denied) for d in each.denials}
