"""The embedded venue's state in memory, and ``OrderRequest``, an order as sent.

These are plain values without market, clock or I/O. The store writes the orders and positions that
``Changes`` lists in one transaction per operation. Ended orders, fills, income and audit records
leave memory when they are stored. Later reads of them go to the store.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import attrs

from kamou.core.kinds import FillReason
from kamou.core.market.fill_prices import as_money
from kamou.core.model import (
    ZERO,
    FillReport,
    Income,
    OrderReport,
    OrderSide,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
)


@attrs.frozen(kw_only=True)
class OrderRequest:
    """An order as a client sends it, without trade, role or permit."""

    client_order_id: str
    symbol: str
    side: OrderSide
    type: OrderType
    quantity: Decimal  # contracts
    limit_price: Decimal | None = None
    trigger_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    reduce_only: bool = False
    post_only: bool = False
    leverage: int = 1  # ignored on reduce-only orders


@attrs.define(kw_only=True)
class WorkingOrder:
    """An order at the venue.

    It is in memory while it is live, and stays in the store. An attached order is ``dormant`` until
    its parent's first fill. From then on its ``quantity`` follows the parent's filled quantity.
    """

    request: OrderRequest
    venue_order_id: str
    quantity: Decimal  # contracts
    status: OrderStatus
    created_at_ms: int
    updated_at_ms: int
    filled: Decimal = ZERO  # contracts
    cost: Decimal = ZERO  # sum of price x contracts over the fills
    parent: str = ""  # client order id of the entry that the order is attached to
    dormant: bool = False

    @property
    def live(self) -> bool:
        """True if the order rests or waits for its trigger."""
        return not self.dormant and not self.status.terminal

    @property
    def remaining(self) -> Decimal:
        """Contracts that are not filled."""
        return self.quantity - self.filled

    def make_report(self) -> OrderReport:
        """Return the order as a client reads it."""
        request = self.request
        return OrderReport(
            client_order_id=request.client_order_id,
            venue_order_id=self.venue_order_id,
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            status=self.status,
            quantity=self.quantity,
            filled=self.filled,
            average_price=self.cost / self.filled if self.filled else None,
            limit_price=request.limit_price,
            trigger_price=request.trigger_price,
            reduce_only=request.reduce_only,
            created_at_ms=self.created_at_ms,
            updated_at_ms=self.updated_at_ms,
        )


@attrs.frozen(kw_only=True)
class HeldPosition:
    """A one-way position with isolated margin. A change replaces it."""

    symbol: str
    quantity: Decimal  # signed contracts
    entry_price: Decimal
    leverage: int
    mark: Decimal  # the last stored mark, or the price of a later fill
    updated_at_ms: int


@attrs.frozen(kw_only=True)
class Execution:
    """One fill before it is booked."""

    quantity: Decimal  # contracts, > 0
    price: Decimal
    reference: Decimal  # slippage is the distance of ``price`` from this price
    maker: bool
    reason: FillReason = FillReason.ORDER


class OrderStep(StrEnum):
    """The kind of a venue's change of an order, for the audit log."""

    ACCEPTED = "accepted"
    RESIZED = "resized"
    CLOSED = "closed"  # it is terminal
    REJECTED = "rejected"


class MoneyKind(StrEnum):
    """The kind of a change of money in the audit log."""

    OPENING = "opening"  # wallet balance of a new account
    FUNDING = "funding"
    TRANSFER = "transfer"


@attrs.frozen(kw_only=True)
class OrderAudit:
    """The audit record of an accepted, resized, closed or rejected order."""

    at_ms: int
    event: OrderStep
    client_order_id: str
    symbol: str
    side: OrderSide
    type: OrderType
    reduce_only: bool
    remaining: Decimal  # contracts still to fill
    trigger_price: Decimal | None
    detail: str = ""  # status of a closed order, or code of a rejection


@attrs.frozen(kw_only=True)
class FillAudit:
    """The audit record of a fill, with the position before and after it.

    Money is in USDT. The equity and the wallet balance are those before the fill.
    """

    at_ms: int
    client_order_id: str
    symbol: str
    side: OrderSide
    type: OrderType | None  # None: liquidation or settlement
    reduce_only: bool
    quantity: Decimal
    price: Decimal
    fee: Decimal
    realized: Decimal
    position_before: Decimal  # signed contracts
    position_after: Decimal
    entry_before: Decimal  # average entry price before the fill; 0 without a position
    entry_after: Decimal
    trigger_price: Decimal | None
    contract_size: Decimal
    taker_fee: Decimal
    equity_before: Decimal
    balance_before: Decimal  # wallet balance
    reason: FillReason


@attrs.frozen(kw_only=True)
class MoneyAudit:
    """The audit record of an opening balance, a funding payment or a transfer."""

    at_ms: int
    kind: MoneyKind
    symbol: str  # of funding; otherwise empty
    amount: Decimal  # USDT, > 0 if the account received it


@attrs.frozen(kw_only=True)
class ContractAudit:
    """The audit record of a changed contract size.

    Positions keep their amount of the base currency.
    """

    at_ms: int
    symbol: str
    contract_size: Decimal


AuditRecord = OrderAudit | FillAudit | MoneyAudit | ContractAudit


@attrs.define(kw_only=True)
class Changes:
    """Keys of the orders and positions that are not stored yet, as ordered sets."""

    orders: dict[str, None] = attrs.Factory(dict)
    positions: dict[str, None] = attrs.Factory(dict)


@attrs.define(kw_only=True)
class VenueState:
    """The venue's state in memory; after a save it has live orders and positions.

    ``VenueAccount`` is its only writer. ``orders`` has the live orders and those that changed since
    the last save, in order of arrival. ``fills``, ``income`` and ``audit_log`` have the records
    since the last save. ``*_before`` is the number of stored records, and so the number of the
    first record in the list.
    """

    market_ms: int
    wallet_balance: Decimal
    next_id: int = 1
    orders: dict[str, WorkingOrder] = attrs.Factory(dict)
    # Client order ids of the orders that are not terminal, including dormant ones.
    live: dict[str, None] = attrs.Factory(dict)
    positions: dict[str, HeldPosition] = attrs.Factory(dict)
    fills: list[FillReport] = attrs.Factory(list)
    fills_before: int = 0
    income: list[Income] = attrs.Factory(list)
    income_before: int = 0
    audit_log: list[AuditRecord] = attrs.Factory(list)
    audit_log_before: int = 0
    changes: Changes = attrs.Factory(Changes)
    revision: int = 0  # raised with each change of an order, position or money; not stored

    @classmethod
    def opening(cls, *, start_ms: int, wallet_balance: Decimal) -> VenueState:
        """Return the state of a new account that opens with this wallet balance (USDT)."""
        state = cls(market_ms=start_ms, wallet_balance=as_money(wallet_balance))
        state.audit_log.append(
            MoneyAudit(
                at_ms=start_ms, kind=MoneyKind.OPENING, symbol="", amount=state.wallet_balance
            )
        )
        return state

    @property
    def changed(self) -> bool:
        """True if anything except the market time is not stored yet."""
        c = self.changes
        return bool(c.orders or c.positions or self.fills or self.income or self.audit_log)

    def drop_saved(self) -> None:
        """Drop the ended orders, fills, income and audit records, because they are stored."""
        for client_order_id in self.changes.orders:
            if self.orders[client_order_id].status.terminal:
                del self.orders[client_order_id]
        self.fills_before += len(self.fills)
        self.income_before += len(self.income)
        self.audit_log_before += len(self.audit_log)
        self.fills, self.income, self.audit_log = [], [], []
        self.changes = Changes()

    def new_id(self) -> str:
        """Return the next id. Venue order ids and execution ids share one sequence."""
        new = f"v{self.next_id:010d}"
        self.next_id += 1
        return new

    def live_orders(self, symbol: str) -> list[WorkingOrder]:
        """Return the live orders of one symbol, oldest first."""
        found = (self.orders[c] for c in self.live)
        return [o for o in found if o.live and o.request.symbol == symbol]


def position_after(
    quantity: Decimal, entry: Decimal, delta: Decimal, price: Decimal
) -> tuple[Decimal, Decimal, Decimal]:
    """Net a fill of ``delta`` at ``price`` into a position at average cost.

    All quantities are signed contracts.

    Returns:
        Quantity, average entry price and realized difference after the fill. The difference is
        price x contracts: multiply it by the contract size for USDT.
    """
    after = quantity + delta
    if quantity * delta >= ZERO:
        entry_after = (abs(quantity) * entry + abs(delta) * price) / abs(after)
        return after, entry_after, ZERO
    closed = min(abs(delta), abs(quantity))
    realized = Side.of(quantity).gain(entry, price) * closed
    if after == ZERO:
        return ZERO, ZERO, realized
    return after, (entry if after * quantity > ZERO else price), realized
