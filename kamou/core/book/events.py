"""Events that the journal stores: frozen values, named in the past tense.

Only events change the position book. The journal has at most one event of each kind and
``unique_key``, unless the key is None.
"""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

import attrs

from kamou.core.codes import StateReason
from kamou.core.kinds import DriftKind, ExitReason, FillSource, RunEnd, RunMode
from kamou.core.model import (
    Denial,
    Figure,
    FillReport,
    Income,
    Intent,
    OrderRole,
    OrderStatus,
    Plan,
    Ranked,
    Side,
    TradingState,
)


@attrs.frozen(kw_only=True)
class Event:
    """Base of all events."""

    at_ms: int  # by this machine's clock; of an account read, by the venue's
    cause_id: str = ""  # id of the cause; the causes of an entry lead back to a bar
    schema: ClassVar[int] = 1

    @property
    def unique_key(self) -> str | None:
        """Key that at most one event of this kind in the journal has; None: no limit."""
        return None


# --- the system ----------------------------------------------------------------


@attrs.frozen(kw_only=True)
class RunStarted(Event):
    run_number: int
    mode: RunMode
    version: str
    config_digest: str  # of ``config_json``
    config_json: str  # the settings that change trades
    change_reason: str  # the operator's reason for changed settings; may be empty
    gate: str = "assumed"  # basis of the grants; older journals have no other


@attrs.frozen(kw_only=True)
class RunStopped(Event):
    run_number: int
    reason: RunEnd


@attrs.frozen(kw_only=True)
class CycleRanked(Event):
    """Ranking of one cycle: its candidates, best first, and abstentions by code."""

    cycle_at_ms: int
    bar_closed_at_ms: int  # 0 when no bar closed in this cycle
    symbols: int  # number of ranked symbols
    candidates: int  # number of signals; ``top`` has the best of each strategy
    by_strategy: tuple[Figure, ...]  # number of signals of each strategy that has one
    abstained: tuple[Figure, ...]  # numbers of abstentions, named ``strategy.CODE``
    late_shards: int  # number of shards that did not answer with the newest bar
    top: tuple[Ranked, ...]

    @property
    def unique_key(self) -> str:
        return str(self.cycle_at_ms)


@attrs.frozen(kw_only=True)
class CycleClosed(Event):
    """End of a cycle after its reconciliation."""

    cycle_at_ms: int
    positions: int
    open_orders: int
    drift: int  # number of differences, also of repaired and pending ones; 0: none
    repaired: int  # number of events that changed the book, such as fills

    @property
    def unique_key(self) -> str:
        return str(self.cycle_at_ms)


# --- permits -------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class PermitGranted(Event):
    """Approval of a plan by the governor, which reserves its risk and notional."""

    permit_id: str
    plan: Plan
    figures: tuple[Figure, ...]
    expires_at_ms: int

    @property
    def unique_key(self) -> str:
        return self.permit_id


@attrs.frozen(kw_only=True)
class PermitDenied(Event):
    """Denial of one plan or reducing order, with the figures of each reason.

    The governor denied it, or did not answer. ``EntriesDenied`` has the order manager's denials.
    """

    permit_id: str
    signal_id: str
    strategy: str
    symbol: str
    role: OrderRole
    denials: tuple[Denial, ...]


@attrs.frozen(kw_only=True)
class PermitConsumed(Event):
    """Use of a permit for one order by the exchange port; no other order can use it."""

    permit_id: str
    client_order_id: str

    @property
    def unique_key(self) -> str:
        return self.permit_id


@attrs.frozen(kw_only=True)
class PermitReleased(Event):
    """End of a permit's reservation."""

    permit_id: str
    reason: str  # a ReleaseReason, or the code of the entry's rejection

    @property
    def unique_key(self) -> str:
        return self.permit_id


# --- orders --------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class IntentRecorded(Event):
    """Intent of an order. The event is committed before the order is sent."""

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
    """Order sent without an answer; a query by client order id resolves it."""

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
    """End of an order, as the venue reports it."""

    client_order_id: str
    status: OrderStatus
    filled: Decimal
    reason: str

    @property
    def unique_key(self) -> str:
        return self.client_order_id


@attrs.frozen(kw_only=True)
class FillRecorded(Event):
    fill: FillReport
    source: FillSource

    @property
    def unique_key(self) -> str:
        return self.fill.key


@attrs.frozen(kw_only=True)
class StopConfirmed(Event):
    """Stop that was read back from the venue and covers ``quantity`` contracts."""

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
    """Proof by the exchange port that an order reduces, without the governor's answer."""

    client_order_id: str
    symbol: str
    position: Decimal  # contracts, signed
    quantity: Decimal  # contracts of the order


# --- money, reconciliation, the trading state ----------------------------------


@attrs.frozen(kw_only=True)
class IncomeRecorded(Event):
    """Payment that the venue listed. A transfer is neither profit nor loss."""

    income: Income

    @property
    def unique_key(self) -> str:
        return self.income.income_id


@attrs.frozen(kw_only=True)
class TradeClosed(Event):
    """End of a trade, with its result."""

    trade_id: str
    symbol: str
    strategy: str
    side: Side
    quantity: Decimal
    contract_size: Decimal
    entry_price: Decimal
    exit_price: Decimal
    stop_price: Decimal  # as it was when the trade ended
    opened_at_ms: int
    closed_at_ms: int
    pnl_gross: Decimal
    fees: Decimal
    funding: Decimal
    slippage: Decimal  # money, already part of pnl_gross
    pnl_net: Decimal
    r_multiple: Decimal | None  # pnl_net / ``OpenTrade.planned_risk``; None if a part had no plan
    exit_reason: ExitReason
    planned_entry: Decimal | None = None  # None: no plan; in older journals, R used entry_price
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
    net_deposits: Decimal  # since inception
    exit_costs: Decimal | None = None  # money, of closing all positions; None: not recorded
    day_equity: Decimal | None = None  # at 00:00 of this day; None: the day was not open yet
    # Money since 00:00, with exit costs, without transfers; None if ``day_equity`` is None.
    day_lost: Decimal | None = None
    marks: tuple[Figure, ...] = ()  # mark prices of open positions, named by symbol


@attrs.frozen(kw_only=True)
class DayOpened(Event):
    """Opening of a UTC day, with the equity from which the day's result counts."""

    day: str  # YYYY-MM-DD, UTC
    equity: Decimal  # as read at ``at_ms``
    marks: tuple[Figure, ...] = ()  # marks of 00:00 of symbols open then or traded since
    opening: Decimal | None = None  # at 00:00; None: ``equity`` less the day's payments
    midnight_at_ms: int = 0  # 00:00 of the day
    rests_on: str = ""  # source of ``marks``, see ``core/risk/midnight_equity.py``
    at_midnight: bool = True  # False: ``opening`` replaces an unknown equity at 00:00

    @property
    def unique_key(self) -> str:
        return self.day


@attrs.frozen(kw_only=True)
class PositionAdopted(Event):
    """Adoption of a position that the venue reports and the book did not have."""

    unless_held: bool = False  # True: adopt nothing if the book has the position by now
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
    """Correction of a trade to the venue's quantity, which no fill explains."""

    symbol: str
    quantity: Decimal  # contracts, signed; 0: the venue has none on the trade's side
    price: Decimal  # mark price of the correction; without one, the entry price
    reason: str  # always ``inferred``


@attrs.frozen(kw_only=True)
class DriftFound(Event):
    symbol: str
    kind: DriftKind
    figures: tuple[Figure, ...]


@attrs.frozen(kw_only=True)
class DriftExplained(Event):
    reason: str


@attrs.frozen(kw_only=True)
class TradeRestated(Event):
    """Change of the contract size, tick or stop price of an open trade."""

    trade_id: str
    symbol: str
    contract_size: Decimal  # the new one; the trade's base units stay
    tick: Decimal  # the new tick size, of orders placed from now on
    stop_price: Decimal  # changed only if liquidation would have come first


@attrs.frozen(kw_only=True)
class StateChanged(Event):
    before: TradingState
    after: TradingState
    reason: StateReason
    figures: tuple[Figure, ...] = ()
