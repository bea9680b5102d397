"""Values for tests of core, and ``Story``, a journal in memory with its book."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any

import attrs

from kamou.core.book import events as e
from kamou.core.book.position_book import PositionBook
from kamou.core.kinds import FillReason, FillSource, IncomeKind, RunMode, SizeLimit
from kamou.core.model import (
    Account,
    FillReport,
    Income,
    Instrument,
    Intent,
    OrderReport,
    OrderRole,
    OrderSide,
    OrderStatus,
    OrderType,
    Plan,
    PositionReport,
    Quote,
    Side,
    TimeInForce,
)
from kamou.core.reconciliation.venue_view import instrument_changes
from kamou.core.record.gate import LiveGrant
from kamou.core.risk.equity import CurrentEquity, current_equity
from kamou.core.risk.exposure import Exposure, compute_exposure, compute_headroom
from kamou.core.risk.governor import ReviewContext, review_entry
from kamou.core.risk.limits import CostModel, RiskLimits, TradingParameters
from kamou.core.risk.sizing import Headroom
from kamou.core.risk.verdict import Denied

D = Decimal
NOON = 1_704_110_400_000  # 2024-01-01T12:00:00Z
DAY = 86_400_000


def client(name: str) -> str:
    """Return a client order id of Kamou's form that is a function of ``name``."""
    return "km" + hashlib.sha256(name.encode()).hexdigest()[:26]


def instrument(symbol: str = "SOLUSDT", **changes: Any) -> Instrument:
    made = Instrument(
        symbol=symbol,
        base=symbol.removesuffix("USDT"),
        quote="USDT",
        tick=D("0.01"),
        lot=D("1"),
        contract_size=D("0.1"),
        qty_min=D("1"),
        qty_max=D("1000000"),
        notional_min=D("5"),
        leverage_max=20,
        maintenance_margin_rate=D("0.005"),
        taker_fee=D("0.0006"),
        maker_fee=D("0.0002"),
    )
    return attrs.evolve(made, **changes)


INSTRUMENTS = {
    s: instrument(s) for s in ("SOLUSDT", "BTCUSDT", "ETHUSDT", "XRPUSDT", "ADAUSDT", "DOTUSDT")
}


def quote(symbol: str = "SOLUSDT", mid: str = "100", at_ms: int = NOON, **changes: Any) -> Quote:
    made = Quote(
        symbol=symbol,
        bid=D(mid) - D("0.01"),
        ask=D(mid) + D("0.01"),
        bid_qty=D(1000),
        ask_qty=D(1000),
        mark=D(mid),
        at_ms=at_ms,
    )
    return attrs.evolve(made, **changes)


def account(equity: str = "10000", at_ms: int = NOON, **changes: Any) -> Account:
    made = Account(
        equity=D(equity),
        wallet_balance=D(equity),
        unrealized_pnl=D(0),
        margin_used=D(0),
        available=D(equity),
        at_ms=at_ms,
    )
    return attrs.evolve(made, **changes)


def plan(symbol: str = "SOLUSDT", side: Side = Side.LONG, **changes: Any) -> Plan:
    """Return a plan for 10 base units at 100 with a stop 3 away, with ``changes``."""
    sign = side.sign
    made = Plan(
        permit_id=f"{NOON}.mean_reversion.{symbol}.0",
        signal_id=f"{NOON}.mean_reversion.{symbol}",
        attempt=0,
        strategy="mean_reversion",
        symbol=symbol,
        side=side,
        quantity=D(100),
        contract_size=D("0.1"),
        entry_price=D(100),
        limit_price=D(100),
        stop_price=D(100) - 3 * sign,
        target_price=D(100) + 6 * sign,
        leverage=5,
        risk=D("41"),
        notional=D(1000),
        bound_by=SizeLimit.RISK,
        hold_ms=DAY,
        planned_at_ms=NOON,
        expires_at_ms=NOON + 20_000,
    )
    return attrs.evolve(made, **changes)


def intent(role: OrderRole, of: Plan, name: str = "", **changes: Any) -> Intent:
    entry = role is OrderRole.ENTRY
    kinds = {
        OrderRole.ENTRY: OrderType.LIMIT,
        OrderRole.STOP_LOSS: OrderType.STOP_MARKET,
        OrderRole.TAKE_PROFIT: OrderType.LIMIT,
        OrderRole.EXIT: OrderType.MARKET,
    }
    made = Intent(
        client_order_id=client(name or f"{of.permit_id}/{role.value}"),
        trade_id=of.signal_id,
        permit_id=of.permit_id if entry else "",
        role=role,
        attempt=0,
        symbol=of.symbol,
        side=of.side.opening if entry else of.side.closing,
        quantity=of.quantity,
        type=kinds[role],
        limit_price=of.limit_price if entry else None,
        trigger_price=of.stop_price if role is OrderRole.STOP_LOSS else None,
        time_in_force=TimeInForce.IOC if entry else TimeInForce.GTC,
        reduce_only=not entry,
        leverage=of.leverage,
        intended_at_ms=NOON,
        salt="00" * 32,
        cause_id=of.permit_id,
    )
    return attrs.evolve(made, **changes)


_numbers = iter(range(10**9))


def fill(
    order: Intent | None,
    quantity: str,
    price: str,
    *,
    symbol: str = "SOLUSDT",
    side: OrderSide = OrderSide.SELL,
    at_ms: int = NOON,
    **changes: Any,
) -> FillReport:
    made = FillReport(
        symbol=order.symbol if order else symbol,
        execution_id=str(next(_numbers)),
        client_order_id=order.client_order_id if order else "",
        venue_order_id="v",
        side=order.side if order else side,
        quantity=D(quantity),
        price=D(price),
        fee=D("0.5"),
        slippage=D("0.1"),
        maker=False,
        reason=FillReason.ORDER,
        at_ms=at_ms,
    )
    return attrs.evolve(made, **changes)


def income(kind: str, amount: str, at_ms: int = NOON, symbol: str = "SOLUSDT") -> Income:
    return Income(
        income_id=f"{kind}{next(_numbers)}",
        kind=IncomeKind(kind),
        symbol=symbol,
        amount=D(amount),
        at_ms=at_ms,
    )


def venue_order(of: Intent, quantity: str | None = None, **changes: Any) -> OrderReport:
    made = OrderReport(
        client_order_id=of.client_order_id,
        venue_order_id="v-" + of.client_order_id[-6:],
        symbol=of.symbol,
        side=of.side,
        type=of.type,
        status=OrderStatus.ACCEPTED,
        quantity=of.quantity if quantity is None else D(quantity),
        filled=D(0),
        average_price=None,
        limit_price=of.limit_price,
        trigger_price=of.trigger_price,
        reduce_only=of.reduce_only,
        created_at_ms=NOON - 60_000,
        updated_at_ms=NOON,
    )
    return attrs.evolve(made, **changes)


def venue_position(symbol: str, quantity: str, mark: str = "100", **changes: Any) -> PositionReport:
    made = PositionReport(
        symbol=symbol,
        quantity=D(quantity),
        entry_price=D(100),
        mark_price=D(mark),
        liquidation_price=None,
        margin=D(0),
        leverage=5,
        unrealized_pnl=D(0),
        updated_at_ms=NOON,
    )
    return attrs.evolve(made, **changes)


@attrs.define
class Story:
    """Journal in memory, with the book to which each of its events is applied."""

    book: PositionBook = attrs.field(factory=PositionBook)
    events: list[e.Event] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.say(*instrument_changes({}, INSTRUMENTS.values(), NOON))

    def say(self, *events: e.Event) -> PositionBook:
        for event in events:
            self.events.append(event)
            self.book.apply(self.book.seq + 1, event)
        return self.book

    def ready(self, equity: str = "10000", at_ms: int = NOON) -> PositionBook:
        """Start a run, open its day, record its equity and close a cycle without drift."""
        start_ms = at_ms - at_ms % DAY
        return self.say(
            e.RunStarted(
                at_ms=start_ms,
                run_number=1,
                mode=RunMode.DEMO,
                version="0",
                config_digest="",
                config_json="{}",
                change_reason="",
            ),
            e.DayOpened(at_ms=start_ms, day="2024-01-01", equity=D(equity)),
            mark(equity, at_ms),
            closed_cycle(at_ms),
        )

    def grant(self, of: Plan, at_ms: int = NOON) -> None:
        self.say(
            e.PermitGranted(
                at_ms=at_ms,
                permit_id=of.permit_id,
                plan=of,
                figures=(),
                expires_at_ms=of.expires_at_ms,
            )
        )

    def send(self, order: Intent, at_ms: int = NOON) -> Intent:
        self.say(e.IntentRecorded(at_ms=at_ms, intent=order))
        return order

    def fill(self, order: Intent | None, quantity: str, price: str, **more: Any) -> FillReport:
        done = fill(order, quantity, price, **more)
        self.say(e.FillRecorded(at_ms=done.at_ms, fill=done, source=FillSource.STREAM))
        return done

    def open(self, of: Plan, price: str = "100", at_ms: int = NOON) -> tuple[Intent, Intent]:
        """Grant a plan, send its entry and stop, fill the entry and confirm the stop."""
        self.grant(of, at_ms)
        entry = self.send(intent(OrderRole.ENTRY, of), at_ms)
        stop = self.send(intent(OrderRole.STOP_LOSS, of), at_ms)
        self.say(
            e.PermitConsumed(
                at_ms=at_ms, permit_id=of.permit_id, client_order_id=entry.client_order_id
            )
        )
        self.fill(entry, str(of.quantity), price, at_ms=at_ms)
        self.say(
            e.OrderAccepted(at_ms=at_ms, client_order_id=stop.client_order_id, venue_order_id="v"),
            e.StopConfirmed(
                at_ms=at_ms,
                symbol=of.symbol,
                client_order_id=stop.client_order_id,
                quantity=of.quantity,
                trigger_price=of.stop_price,
            ),
        )
        return entry, stop


def mark(equity: str, at_ms: int = NOON) -> e.EquityRecorded:
    return e.EquityRecorded(
        at_ms=at_ms,
        equity=D(equity),
        wallet_balance=D(equity),
        unrealized_pnl=D(0),
        margin_used=D(0),
        open_risk=D(0),
        net_deposits=D(0),
    )


def closed_cycle(cycle_at_ms: int = NOON, drift: int = 0) -> e.CycleClosed:
    return e.CycleClosed(
        at_ms=cycle_at_ms,
        cycle_at_ms=cycle_at_ms,
        positions=0,
        open_orders=0,
        drift=drift,
        repaired=0,
    )


def order_closed(of: Intent, status: OrderStatus, filled: str = "0") -> e.OrderClosed:
    return e.OrderClosed(
        at_ms=NOON,
        client_order_id=of.client_order_id,
        status=status,
        filled=D(filled),
        reason="venue",
    )


def equity_now(book: PositionBook, **marks: str) -> CurrentEquity:
    """Return the equity of ``book`` at NOON, with these mark prices by symbol."""
    quotes = {symbol: quote(symbol, mid) for symbol, mid in marks.items()}
    return current_equity(book, None, quotes, costs=CostModel(), now_ms=NOON)


def review(book: PositionBook, of: Plan, **changes: Any) -> ReviewContext:
    """Return the context of a review that passes every rule, except for ``changes``.

    ``instruments`` among the changes replace those of the book, and ``limits`` the default ones.
    """
    if "instruments" in changes:
        book = book.fork()
        book.instruments = changes.pop("instruments")
    inputs: dict[str, Any] = {
        "plan": of,
        "book": book,
        "quote": quote(of.symbol),
        "account": account(),
        "positions": (),
        "marks": {symbol: quote(symbol) for symbol in book.trades.open},
        "reconciled": True,
        "parameters": TradingParameters(limits=changes.pop("limits", RiskLimits())),
        "now_ms": NOON + 1_000,
        "grant": LiveGrant(strategy=of.strategy, basis="live"),
        "tokens": 10.0,
    }
    inputs.update(changes)
    return ReviewContext(**inputs)


def exposure_at(story: Story, marks: dict[str, Decimal] | None = None) -> Exposure:
    """Return the exposure of the book at NOON, at these mark prices by symbol."""
    return compute_exposure(
        story.book,
        marks=marks or {},
        parameters=TradingParameters(),
        now_ms=NOON,
    )


def headroom_of(
    story: Story, symbol: str = "ETHUSDT", side: Side = Side.LONG, **changes: Any
) -> Headroom:
    """Return the headroom at NOON at the entry prices, except for ``changes``."""
    inputs: dict[str, Any] = {"exposure": exposure_at(story), "now": equity_now(story.book)}
    inputs |= {"limits": RiskLimits(), **changes}
    return compute_headroom(story.book, symbol=symbol, side=side, **inputs)


def denials_elsewhere(story: Story, **changes: Any) -> dict[str, str]:
    """Return the denials of an entry into ETHUSDT, or of the plan ``of``, as texts by code."""
    other = plan("ETHUSDT", permit_id="other", signal_id="other")
    verdict, _ = review_entry(review(story.book, changes.pop("of", other), **changes))
    return {d.code: str(d) for d in verdict.denials} if isinstance(verdict, Denied) else {}
