"""Helpers of the venue's tests: an engine at a known time, and short orders."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from kamou.core.market.fill_prices import SettledFunding, SlippageModel
from kamou.core.model import OrderReport, OrderSide, OrderType, TimeInForce
from kamou.venue.engine import Engine
from kamou.venue.market.market import MarketSource
from kamou.venue.models import VenueModels
from kamou.venue.state import OrderRequest
from kamou.venue.store import VenueStore
from tests.venue.memory_market import START_MS, STEP_MS, MemoryMarket

D = Decimal
BUY, SELL = OrderSide.BUY, OrderSide.SELL

# No slippage and no assumed funding: what a test computes by hand is exact.
EXACT = VenueModels(
    slippage=SlippageModel(bps=0.0, cap_bps=0.0), funding=SettledFunding(assumed_per_8h=D(0))
)


def at(bar: int, ms: int = 0) -> int:
    """Return the time ``ms`` after the open of bar number ``bar``."""
    return START_MS + bar * STEP_MS + ms


def engine_at(
    market: MemoryMarket,
    bar: int = 2,
    *,
    models: VenueModels = EXACT,
    store: VenueStore | None = None,
    balance: str = "10000",
) -> Engine:
    made = Engine(
        market,
        models,
        store or VenueStore(":memory:", durable=False),
        start_ms=START_MS,
        wallet_balance=D(balance),
    )
    made.advance(at(bar))
    return made


def open_engine(
    path: Path | str,
    market: MarketSource,
    models: VenueModels = EXACT,
    kind: type[Engine] = Engine,
) -> Engine:
    """Open the venue's file over this market, as a run does."""
    store = VenueStore(path, durable=False)
    return kind(market, models, store, start_ms=START_MS, wallet_balance=D(10_000))


def report_of(engine: Engine, client_order_id: str) -> OrderReport:
    """Return the venue's report of an order that it has."""
    report = engine.order(client_order_id)
    assert report is not None, client_order_id
    return report


def order(client_order_id: str, side: OrderSide, quantity: int | str, **more: Any) -> OrderRequest:
    fields: dict[str, Any] = {
        "symbol": "AAA",
        "type": OrderType.MARKET,
        "leverage": 5,
        "time_in_force": TimeInForce.GTC,
    }
    for price in ("limit_price", "trigger_price"):
        if price in more:
            more[price] = D(str(more[price]))
    return OrderRequest(
        client_order_id=client_order_id, side=side, quantity=D(quantity), **{**fields, **more}
    )


def limit(
    client_order_id: str, side: OrderSide, quantity: int, price: float, **more: Any
) -> OrderRequest:
    return order(client_order_id, side, quantity, type=OrderType.LIMIT, limit_price=price, **more)


def stop(client_order_id: str, side: OrderSide, quantity: int, price: float) -> OrderRequest:
    return order(
        client_order_id,
        side,
        quantity,
        type=OrderType.STOP_MARKET,
        trigger_price=price,
        reduce_only=True,
    )


def target(client_order_id: str, side: OrderSide, quantity: int, price: float) -> OrderRequest:
    return order(
        client_order_id,
        side,
        quantity,
        type=OrderType.LIMIT,
        limit_price=price,
        reduce_only=True,
    )


def entry_with_exits(
    name: str = "e", quantity: int = 100, *, stop_at: float = 98.0, target_at: float = 104.0
) -> tuple[OrderRequest, tuple[OrderRequest, ...]]:
    """Return a long IOC entry that crosses, with its attached stop and take-profit."""
    return (
        limit(name, BUY, quantity, 101.0, time_in_force=TimeInForce.IOC),
        (
            stop(f"{name}-stop", SELL, quantity, stop_at),
            target(f"{name}-target", SELL, quantity, target_at),
        ),
    )
