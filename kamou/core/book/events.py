"""What happened. Past tense, frozen, serialisable: the journal's vocabulary.

Only these change the state (``core/book/position_book.py``). UNIQUE(kind, unique_key) holds.
"""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

import attrs

from kamou.core.model import (
    Candidate,
    Denial,
    Figure,
    Fill,
    Income,
    Intent,
    OrderStatus,
    Plan,
    Ranked,
    Side,
    TradingState,
)


@attrs.frozen(kw_only=True)
class Event:
    """Base of all events. ``at_ms`` is when it happened by our clock."""

    at_ms: int
    cause_id: str = ""  # the id of what led to it: follow it back to the bar
    schema: ClassVar[int] = 1

    @property
    def unique_key(self) -> str | None:
        """The natural key, or None when the event may recur."""
        return None


# --- the system ----------------------------------------------------------------


@attrs.frozen(kw_only=True)
class RunStarted(Event):
    run_number: int
    mode: str
    version: str
    config_digest: str
    config_json: str
    change_reason: str
    gate: str = "assumed"  # basis of the grants; runs before this field existed had only this one


@attrs.frozen(kw_only=True)
class RunStopped(Event):
    run_number: int
    reason: str


@attrs.frozen(kw_only=True)
class CycleRanked(Event):
    """One cycle's scan: the top of the ranking, best first, and the rest as counts per code."""

    cycle_at_ms: int
    bar_closed_at_ms: int  # 0 when no bar closed in this cycle
    symbols: int
    candidates: int
    abstained: tuple[Figure, ...]
    late_shards: int
    top: tuple[Ranked, ...]

    @property
    def unique_key(self) -> str:
        return str(self.cycle_at_ms)


@attrs.frozen(kw_only=True)
class CandidateVetoed(Event):
    signal_id: str
    strategy: str
    symbol: str
    denials: tuple[Denial, ...]


@attrs.frozen(kw_only=True)
class CandidateRefined(Event):
    """A survivor of T2 with the refiner's verdict: approve, refuse, shrink, or off."""

    signal_id: str
    candidate: Candidate
    verdict: str
    size_multiplier: Decimal
    reason_code: str

    @property
    def unique_key(self) -> str:
        return self.signal_id


@attrs.frozen(kw_only=True)
class CycleClosed(Event):
    """The cycle's end: the reconciler agreed with the venue, or says how far it is from it."""

    cycle_at_ms: int
    positions: int
    open_orders: int
    drift: int
    repaired: int

    @property
    def unique_key(self) -> str:
        return str(self.cycle_at_ms)


# --- permits -------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class PermitGranted(Event):
    """The governor's yes. Its reserved risk and notional count until it is released."""

    permit_id: str
    plan: Plan
    figures: tuple[Figure, ...]
    expires_at_ms: int

    @property
    def unique_key(self) -> str:
        return self.permit_id


@attrs.frozen(kw_only=True)
class PermitDenied(Event):
    """The governor's no: every rule's denial, with its figures."""

    permit_id: str
    signal_id: str
    strategy: str
    symbol: str
    role: str
    denials: tuple[Denial, ...]


@attrs.frozen(kw_only=True)
class PermitConsumed(Event):
    """The port used the permit for this order. Once."""

    permit_id: str
    client_order_id: str

    @property
    def unique_key(self) -> str:
        return self.permit_id


@attrs.frozen(kw_only=True)
class PermitReleased(Event):
    """The reservation ended: expired unused, order terminal without a fill, or trade closed."""

    permit_id: str
    reason: str

    @property
    def unique_key(self) -> str:
        return self.permit_id


# --- orders --------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class IntentRecorded(Event):
    """The outbox row. Committed before the order is sent."""

    intent: Intent

    @property
    def unique_key(self) -> str:
        return self.intent.client_order_id


@attrs.frozen(kw_only=True)
class OrderAccepted(Event):
    client_order_id: str
    venue_order_id: str


@attrs.frozen(kw_only=True)
class OrderUnknown(Event):
    """Sent, and no answer. Only a query by client order id resolves it."""

    client_order_id: str
    reason: str


@attrs.frozen(kw_only=True)
class OrderRejected(Event):
    client_order_id: str
    code: str
    reason: str


@attrs.frozen(kw_only=True)
class CancelRequested(Event):
    client_order_id: str
    reason: str


@attrs.frozen(kw_only=True)
class OrderClosed(Event):
    """Terminal by the venue's evidence."""

    client_order_id: str
    status: OrderStatus
    filled: Decimal
    reason: str

    @property
    def unique_key(self) -> str:
        return self.client_order_id


@attrs.frozen(kw_only=True)
class FillRecorded(Event):
    fill: Fill
    source: str  # stream | reconcile | inferred

    @property
    def unique_key(self) -> str:
        return self.fill.key


@attrs.frozen(kw_only=True)
class StopConfirmed(Event):
    """The stop was acknowledged *and read back* covering ``quantity``: PROTECTED."""

    symbol: str
    client_order_id: str
    quantity: Decimal
    trigger_price: Decimal


@attrs.frozen(kw_only=True)
class ProtectionLost(Event):
    symbol: str
    reason: str


@attrs.frozen(kw_only=True)
class ReductionProved(Event):
    """The governor was silent; the port proved this order reduce-only against the venue."""

    client_order_id: str
    symbol: str
    position: Decimal
    quantity: Decimal


# --- money, reconciliation, the governor's state -------------------------------


@attrs.frozen(kw_only=True)
class IncomeRecorded(Event):
    """Funding and transfers. A transfer is a cash flow, not profit."""

    income: Income

    @property
    def unique_key(self) -> str:
        return self.income.income_id


@attrs.frozen(kw_only=True)
class TradeClosed(Event):
    """A round trip, net. R = net PnL / ``OpenTrade.planned_risk``; None if a part had no plan."""

    trade_id: str
    symbol: str
    strategy: str
    side: Side
    quantity: Decimal
    contract_size: Decimal
    entry_price: Decimal
    exit_price: Decimal
    stop_price: Decimal  # where its stop belonged when it ended
    opened_at_ms: int
    closed_at_ms: int
    pnl_gross: Decimal
    fees: Decimal
    funding: Decimal
    slippage: Decimal  # already inside pnl_gross; shown apart
    pnl_net: Decimal
    r_multiple: Decimal | None
    exit_reason: str  # stop_loss | take_profit | time_limit | exit | liquidation | adl | ...
    planned_entry: Decimal | None = None  # older journals: R rests on entry and stop price above
    planned_stop: Decimal | None = None

    @property
    def unique_key(self) -> str:
        return self.trade_id


@attrs.frozen(kw_only=True)
class EquityRecorded(Event):
    equity: Decimal
    wallet_balance: Decimal
    unrealized_pnl: Decimal
    margin_used: Decimal
    open_risk: Decimal
    net_deposits: Decimal  # net since inception
    exit_costs: Decimal | None = None  # money: what closing everything at these marks would cost
    day_equity: Decimal | None = None  # at 00:00 of this day; None: it was not open yet
    day_lost: Decimal | None = None  # money since then, exit costs included, transfers left out
    marks: tuple[Figure, ...] = ()  # of what was held, by symbol


@attrs.frozen(kw_only=True)
class DayOpened(Event):
    """The equity at 00:00 that the day counts from, for the governor and for the record alike."""

    day: str  # YYYY-MM-DD, UTC
    equity: Decimal  # as read at ``at_ms``
    marks: tuple[Figure, ...] = ()  # of 00:00, by symbol: what was held then, or traded since
    opening: Decimal | None = None  # at 00:00:00.000, without entries of this day; None: as read
    midnight_at_ms: int = 0  # 00:00 of the day
    rests_on: str = ""  # where ``marks`` are from, see ``core/risk/midnights.py``
    at_midnight: bool = True  # False: ``opening`` is of the read, for no 00:00 could be computed

    @property
    def unique_key(self) -> str:
        return self.day


@attrs.frozen(kw_only=True)
class PositionAdopted(Event):
    """The venue holds what we did not know. It is ours to protect now."""

    unless_held: bool = False  # nothing is adopted if fills have explained it by now
    trade_id: str
    symbol: str
    side: Side
    quantity: Decimal
    contract_size: Decimal
    entry_price: Decimal
    stop_price: Decimal

    @property
    def unique_key(self) -> str:
        return self.trade_id


@attrs.frozen(kw_only=True)
class PositionCorrected(Event):
    """The venue's quantity was not ours; now it is. ``inferred``: no fill explains it."""

    symbol: str
    quantity: Decimal  # signed, what the venue says
    price: Decimal  # the mark at which the difference was booked
    reason: str


@attrs.frozen(kw_only=True)
class DriftFound(Event):
    symbol: str
    kind: str
    figures: tuple[Figure, ...]


@attrs.frozen(kw_only=True)
class DriftExplained(Event):
    reason: str


@attrs.frozen(kw_only=True)
class InstrumentChanged(Event):
    """The venue tells other terms for new orders. Each figure is ``old -> new``."""

    symbol: str
    figures: tuple[Figure, ...]


@attrs.frozen(kw_only=True)
class TradeRestated(Event):
    """The venue changed an instrument of which something is held: the trade goes on so."""

    trade_id: str
    symbol: str
    contract_size: Decimal  # as much of the base currency is held, in contracts of this size
    tick: Decimal  # what is placed from now on must be on it
    stop_price: Decimal  # nearer than before only where liquidation would have come first


@attrs.frozen(kw_only=True)
class StateChanged(Event):
    before: TradingState
    after: TradingState
    reason: str  # a StateReason
    figures: tuple[Figure, ...] = ()
