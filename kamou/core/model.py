"""Values of trading, from sides and instruments to plans and venue reports.

The module has enums of orders and states, instruments, quotes, candidates, denials with figures,
plans, intents, the venue reports, an API key's permissions, and constants of decimals and basis
points.

Prices, quantities and money are ``Decimal``; features, scores and a candidate's prices are
``float``. Quantities of orders, fills and positions are in **contracts**; one contract is
``Instrument.contract_size`` units of the base currency. Money is in the account currency (USDT).
Times are ``int`` milliseconds since the Unix epoch, UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum

import attrs

from kamou.core.kinds import FillReason, IncomeKind, SizeLimit
from kamou.core.kinds import TradingState as TradingState
from kamou.core.sides import OrderSide as OrderSide
from kamou.core.sides import Side as Side

ZERO = Decimal(0)
Bound = int | str | None  # limit of a setting's value; a decimal is a text, so that 0.01 is exact
BPS = 1e-4  # one basis point as a fraction, for floats
BPS_PER_UNIT = Decimal(10_000)  # divide a Decimal by it, because a product gains trailing zeros


class OrderRole(StrEnum):
    """The purpose of an order. Only ENTRY may add exposure."""

    ENTRY = "entry"
    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"
    EXIT = "exit"


class OrderType(StrEnum):
    """The type of an order at the venue."""

    MARKET = "market"
    LIMIT = "limit"
    STOP_MARKET = "stop_market"  # triggers when the price moves against the position
    TAKE_PROFIT_MARKET = "take_profit_market"  # triggers when it moves in favor of the position


class TimeInForce(StrEnum):
    """The time for which an order stays open."""

    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"


class OrderStatus(StrEnum):
    """The state of an order. Before SUBMITTED there is no order."""

    SUBMITTED = "submitted"  # its intent is committed: the venue may have it
    UNKNOWN = "unknown"  # it was sent and no answer came; a query resolves it
    ACCEPTED = "accepted"
    PARTIALLY_FILLED = "partially_filled"
    PENDING_CANCEL = "pending_cancel"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"

    @property
    def terminal(self) -> bool:
        return self in _TERMINAL


_TERMINAL = frozenset(
    {OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED}
)


HALT_STATES = frozenset(state for state in TradingState if not state.entries_allowed)
"""States in which entries are stopped."""


@attrs.frozen(kw_only=True)
class Instrument:
    """The contract specification of a linear perpetual.

    ``lot``, ``qty_min`` and ``qty_max`` are in contracts, ``tick`` and ``notional_min`` in the
    quote currency. ``contract_size`` is base units per contract. The fees and
    ``maintenance_margin_rate`` are fractions of notional.
    """

    symbol: str
    base: str
    quote: str
    tick: Decimal
    lot: Decimal
    contract_size: Decimal
    qty_min: Decimal
    qty_max: Decimal
    notional_min: Decimal
    leverage_max: int
    maintenance_margin_rate: Decimal
    taker_fee: Decimal
    maker_fee: Decimal
    funding_interval_h: int = 8


@attrs.frozen(kw_only=True)
class Quote:
    """Best bid and ask, the contracts offered there, and the mark price.

    ``at_ms`` is the venue's time.
    """

    symbol: str
    bid: Decimal
    ask: Decimal
    bid_qty: Decimal
    ask_qty: Decimal
    mark: Decimal
    at_ms: int

    @property
    def mid(self) -> Decimal:
        return (self.bid + self.ask) / 2

    @property
    def spread(self) -> Decimal:
        return self.ask - self.bid

    def touch(self, side: OrderSide) -> Decimal:
        """Return the best price that an order of this side takes: the ask for a buy."""
        return self.ask if side is OrderSide.BUY else self.bid

    @property
    def sound(self) -> bool:
        """True if prices are finite and above 0, and the bid is at most the ask."""
        prices = (self.bid, self.ask, self.mark)
        return all(p.is_finite() and p > ZERO for p in prices) and self.bid <= self.ask


@attrs.frozen(kw_only=True)
class Candidate:
    """A signal at the top of its cycle's ranking. Distances are in price, > 0."""

    signal_id: str
    strategy: str
    symbol: str
    side: Side
    score: float  # in [0, 1]: absolute weighted score; ``side`` has the sign
    close: float  # of the bar
    stop_distance: float
    target_distance: float
    hold_ms: int  # time limit of the position
    bar_opened_at_ms: int
    bar_closed_at_ms: int
    features: tuple[tuple[str, float], ...] = ()  # finite ones, by name
    proxy: str = ""  # label of the data that replaced missing data; empty: none
    rest_ms: int = 0  # time for which a post-only entry may rest; 0: the entry takes


@attrs.frozen(kw_only=True)
class Ranked:
    """The part of a candidate that ``CycleRanked`` stores."""

    strategy: str
    symbol: str
    side: Side
    score: float  # rounded to six significant digits


@attrs.frozen(kw_only=True)
class Figure:
    """A named figure of a denial, veto or event, as text, so that decimals stay exact."""

    name: str
    value: str


NOTE = "note"  # name of the figure with the operator's note


def find_note(figures: Iterable[Figure]) -> str:
    """Return the operator's note among the figures; empty without one."""
    return next((each.value for each in figures if each.name == NOTE), "")


@attrs.frozen(kw_only=True)
class Denial:
    """A denial or a veto: its code with figures, as in ``PLAN_EXPIRED: late_ms=250``."""

    code: str
    figures: tuple[Figure, ...] = ()

    def __str__(self) -> str:
        shown = " ".join(f"{f.name}={f.value}" for f in self.figures)
        return f"{self.code}: {shown}" if shown else self.code


@attrs.frozen(kw_only=True)
class Plan:
    """An entry that the order manager plans, with its stop, target and size."""

    permit_id: str
    signal_id: str
    attempt: int
    strategy: str
    symbol: str
    side: Side
    quantity: Decimal  # contracts
    contract_size: Decimal
    entry_price: Decimal  # worst price at which the entry may fill; the size uses it
    limit_price: Decimal  # limit of the entry order (IOC, or GTC and post-only if it may rest)
    stop_price: Decimal
    target_price: Decimal
    leverage: int
    risk: Decimal  # worst case, money, with costs, gap buffer and funding
    notional: Decimal  # money
    bound_by: SizeLimit
    hold_ms: int
    planned_at_ms: int
    expires_at_ms: int
    rest_ms: int = 0  # time for which the post-only entry may rest; 0: the entry takes

    @property
    def stop_distance(self) -> Decimal:
        return abs(self.entry_price - self.stop_price)


@attrs.frozen(kw_only=True)
class Intent:
    """The intent of one order, which is committed before the order is sent.

    ``limit_price`` and ``trigger_price`` are None if the order's type has no such price.
    """

    client_order_id: str  # a hash of the content and the salt
    trade_id: str
    permit_id: str  # empty for reducing orders
    role: OrderRole
    attempt: int
    symbol: str
    side: OrderSide
    quantity: Decimal  # contracts
    type: OrderType
    limit_price: Decimal | None
    trigger_price: Decimal | None
    time_in_force: TimeInForce
    reduce_only: bool
    leverage: int
    intended_at_ms: int
    salt: str  # hex
    cause_id: str  # id of what caused the intent, such as its permit

    @property
    def post_only(self) -> bool:
        """True for an entry that may rest: the venue rejects it if it would take."""
        return self.role is OrderRole.ENTRY and self.time_in_force is TimeInForce.GTC


@attrs.frozen(kw_only=True)
class OrderReport:
    """An order as the venue reports it. Quantities are contracts.

    ``average_price`` is None without a fill. ``limit_price`` and ``trigger_price`` are None if the
    order's type has no such price.
    """

    client_order_id: str
    venue_order_id: str
    symbol: str
    side: OrderSide
    type: OrderType
    status: OrderStatus
    quantity: Decimal
    filled: Decimal
    average_price: Decimal | None
    limit_price: Decimal | None
    trigger_price: Decimal | None
    reduce_only: bool
    created_at_ms: int
    updated_at_ms: int


@attrs.frozen(kw_only=True)
class FillReport:
    """A fill as the venue reports it, unique by (symbol, execution_id)."""

    symbol: str
    execution_id: str
    client_order_id: str  # empty for external orders and fills without an order
    venue_order_id: str
    side: OrderSide
    quantity: Decimal  # contracts
    price: Decimal
    fee: Decimal  # money, positive is paid
    slippage: Decimal  # money, against mid or trigger price, from the embedded venue's model
    maker: bool
    reason: FillReason
    at_ms: int

    @property
    def key(self) -> str:
        return f"{self.symbol}:{self.execution_id}"

    @property
    def signed(self) -> Decimal:
        """Contracts that the fill adds to the venue's position: negative for a sell."""
        return self.side.sign * self.quantity


@attrs.frozen(kw_only=True)
class PositionReport:
    """A one-way position as the venue reports it.

    ``quantity`` is signed, in contracts; ``margin`` is money. ``liquidation_price`` is None if no
    price above 0 liquidates the position, or if the venue reports none. An assertion fails unless
    the mark price is positive and all numbers but ``liquidation_price`` are finite.
    """

    symbol: str
    quantity: Decimal
    entry_price: Decimal
    mark_price: Decimal
    liquidation_price: Decimal | None
    margin: Decimal
    leverage: int
    unrealized_pnl: Decimal
    updated_at_ms: int

    def __attrs_post_init__(self) -> None:
        numbers = (
            self.quantity,
            self.entry_price,
            self.mark_price,
            self.margin,
            self.unrealized_pnl,
        )
        assert all(number.is_finite() for number in numbers), self
        assert self.mark_price > 0, self


@attrs.frozen(kw_only=True)
class Account:
    """Money of the account as the venue reports it, in the account currency."""

    equity: Decimal  # wallet_balance + unrealized_pnl
    wallet_balance: Decimal  # realized only
    unrealized_pnl: Decimal
    margin_used: Decimal
    available: Decimal
    at_ms: int


@attrs.frozen(kw_only=True)
class Income:
    """A change of the wallet balance without a fill, such as funding or a transfer."""

    income_id: str
    kind: IncomeKind
    symbol: str  # empty: of no symbol, such as a transfer
    amount: Decimal  # signed, positive is received
    at_ms: int


@attrs.frozen(kw_only=True)
class Permissions:
    """Permissions of an API key."""

    trade: bool
    withdraw: bool
    transfer: bool
