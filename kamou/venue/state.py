"""What the embedded venue holds in memory: open orders, positions, money, and what is not stored.

Plain state with the accounting that changes it; no market, no time of its own, no I/O. The
store writes what ``Changes`` says changed, in one transaction per operation. Ended orders, fills,
incomes and audit records leave the memory once they are stored: the store answers for them.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import attrs

from kamou.core.model import (
    ZERO,
    Fill,
    Income,
    OrderSide,
    OrderStatus,
    OrderType,
    TimeInForce,
    VenueOrder,
)

MONEY_STEP = Decimal("0.00000001")  # the venue books money in hundred-millionths


def as_money(amount: Decimal) -> Decimal:
    """``amount`` on the venue's money step, so that sums stay exact."""
    return amount.quantize(MONEY_STEP, rounding=ROUND_HALF_EVEN)


@attrs.frozen(kw_only=True)
class OrderRequest:
    """What a client sends. The venue knows nothing of trades, roles or permits."""

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
    """An order as the venue keeps it, in memory while it is live and in the store for ever.

    An attached order is ``dormant`` until its parent's first fill; its ``quantity`` then follows
    the parent's filled quantity.
    """

    request: OrderRequest
    venue_order_id: str
    quantity: Decimal
    status: OrderStatus
    created_at_ms: int
    updated_at_ms: int
    filled: Decimal = ZERO
    cost: Decimal = ZERO  # sum of price x contracts over the fills
    parent: str = ""  # client order id of the entry it is attached to
    dormant: bool = False

    @property
    def live(self) -> bool:
        """Resting or waiting for its trigger, at the venue, now."""
        return not self.dormant and not self.status.terminal

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.filled

    def told(self) -> VenueOrder:
        """The order as clients see it."""
        asked = self.request
        return VenueOrder(
            client_order_id=asked.client_order_id,
            venue_order_id=self.venue_order_id,
            symbol=asked.symbol,
            side=asked.side,
            type=asked.type,
            status=self.status,
            quantity=self.quantity,
            filled=self.filled,
            average_price=self.cost / self.filled if self.filled else None,
            limit_price=asked.limit_price,
            trigger_price=asked.trigger_price,
            reduce_only=asked.reduce_only,
            created_at_ms=self.created_at_ms,
            updated_at_ms=self.updated_at_ms,
        )


@attrs.define(kw_only=True)
class HeldPosition:
    """One-way, isolated. ``quantity`` is signed; ``mark`` is the last price if the market ends."""

    symbol: str
    quantity: Decimal
    entry_price: Decimal
    leverage: int
    mark: Decimal
    updated_at_ms: int


@attrs.frozen(kw_only=True)
class OrderAudit:
    """Audit record: an order became acknowledged, changed its size, ended, or was refused."""

    at_ms: int
    event: str  # accepted | resized | closed | rejected
    client_order_id: str
    symbol: str
    side: OrderSide
    type: OrderType
    reduce_only: bool
    remaining: Decimal  # contracts still to fill
    trigger_price: Decimal | None
    detail: str = ""  # final status, or the rejection's code


@attrs.frozen(kw_only=True)
class FillAudit:
    """Audit record: a fill with the account around it."""

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
    entry_before: Decimal  # average entry price before, zero when flat
    entry_after: Decimal
    trigger_price: Decimal | None
    contract_size: Decimal
    taker_fee: Decimal
    equity_before: Decimal
    balance_before: Decimal
    reason: str


@attrs.frozen(kw_only=True)
class MoneyAudit:
    """Audit record: opening balance, funding, transfer."""

    at_ms: int
    kind: str  # opening | funding | transfer
    symbol: str
    amount: Decimal


@attrs.frozen(kw_only=True)
class ContractAudit:
    """Audit record: a contract stands for another amount now; nobody holds more or less by it."""

    at_ms: int
    symbol: str
    contract_size: Decimal


AuditRecord = OrderAudit | FillAudit | MoneyAudit | ContractAudit


@attrs.define(kw_only=True)
class Changes:
    """Which orders and positions are not yet stored. Dicts as ordered sets: deterministic."""

    orders: dict[str, None] = attrs.Factory(dict)
    positions: dict[str, None] = attrs.Factory(dict)


@attrs.define(kw_only=True)
class VenueState:
    """What the venue must have at hand. Its size follows what is open, not what ever happened.

    ``orders`` holds the live orders and those that changed since the last save, in order of
    arrival. ``fills``, ``income`` and ``audit_log`` hold what was appended since the last save;
    ``*_before`` is how many of each the store has: the number of the first one in the list.
    """

    market_ms: int
    wallet_balance: Decimal
    next_id: int = 1
    orders: dict[str, WorkingOrder] = attrs.Factory(dict)
    live: dict[str, None] = attrs.Factory(
        dict
    )  # client order ids not terminal, dormant ones included
    positions: dict[str, HeldPosition] = attrs.Factory(dict)
    fills: list[Fill] = attrs.Factory(list)
    fills_before: int = 0
    income: list[Income] = attrs.Factory(list)
    income_before: int = 0
    audit_log: list[AuditRecord] = attrs.Factory(list)
    audit_log_before: int = 0
    changes: Changes = attrs.Factory(Changes)

    @classmethod
    def opening(cls, *, start_ms: int, wallet_balance: Decimal) -> VenueState:
        state = cls(market_ms=start_ms, wallet_balance=as_money(wallet_balance))
        state.audit_log.append(
            MoneyAudit(at_ms=start_ms, kind="opening", symbol="", amount=state.wallet_balance)
        )
        return state

    @property
    def changed(self) -> bool:
        """Whether anything but the time awaits storing."""
        c = self.changes
        return bool(c.orders or c.positions or self.fills or self.income or self.audit_log)

    def saved(self) -> None:
        """Forget what is stored now and no longer open."""
        for client_order_id in self.changes.orders:
            if self.orders[client_order_id].status.terminal:
                del self.orders[client_order_id]
        self.fills_before += len(self.fills)
        self.income_before += len(self.income)
        self.audit_log_before += len(self.audit_log)
        self.fills, self.income, self.audit_log = [], [], []
        self.changes = Changes()

    def new_id(self) -> str:
        """The next venue order id: order and trade ids share one sequence."""
        made = f"v{self.next_id:010d}"
        self.next_id += 1
        return made

    def live_orders(self, symbol: str) -> list[WorkingOrder]:
        """Live orders of one symbol, oldest first."""
        found = (self.orders[c] for c in self.live)
        return [o for o in found if o.live and o.request.symbol == symbol]


def position_after(
    quantity: Decimal, entry: Decimal, delta: Decimal, price: Decimal
) -> tuple[Decimal, Decimal, Decimal]:
    """Netting with average cost: ``(quantity, entry price, realized price difference)``.

    All quantities are signed contracts. The realized difference is in price x contracts; times
    the contract size it is money.
    """
    after = quantity + delta
    if quantity * delta >= ZERO:
        entry_after = (abs(quantity) * entry + abs(delta) * price) / abs(after)
        return after, entry_after, ZERO
    closed = min(abs(delta), abs(quantity))
    sign = 1 if quantity > ZERO else -1
    realized = (price - entry) * closed * sign
    if after == ZERO:
        return ZERO, ZERO, realized
    return after, (entry if after * quantity > ZERO else price), realized
