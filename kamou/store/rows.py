"""Row classes of runs, decisions, orders and trades, and results of queries.

``store/table_rows.py`` selects and inserts rows; ``store/record_rows.py`` has the other classes.
A class with a ``table`` is a row of that table. Money is ``Decimal``, and times are in ms UTC.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

import attrs

from kamou.core.codes import StateReason
from kamou.core.kinds import (
    ExitReason,
    FillReason,
    FillSource,
    RefinerVerdict,
    RunEnd,
    RunMode,
    SizeLimit,
    Tier,
)
from kamou.core.model import (
    ZERO,
    Denial,
    Figure,
    OrderRole,
    OrderSide,
    OrderStatus,
    OrderType,
    Side,
    TradingState,
)
from kamou.store.record_rows import EquityPoint
from kamou.store.table_rows import COLUMN


@attrs.frozen(kw_only=True)
class TradeRow:
    """A closed trade, from ``core.book.events.TradeClosed``.

    ``stop_price`` is the stop when the trade ended, ``planned_stop`` that of the plan; None without
    a plan. ``r_multiple`` is None if a part of the trade had no plan.
    """

    table: ClassVar[str] = "trade"
    trade_id: str
    symbol: str
    strategy: str
    side: Side
    quantity: Decimal
    contract_size: Decimal
    entry_price: Decimal
    exit_price: Decimal
    stop_price: Decimal
    planned_stop: Decimal | None
    opened_at_ms: int
    closed_at_ms: int
    pnl_gross: Decimal
    fees: Decimal
    funding: Decimal
    slippage: Decimal
    pnl_net: Decimal
    r_multiple: float | None
    exit_reason: ExitReason
    rowid: int = 0  # 0: not inserted yet; SQLite gives it

    @property
    def cursor(self) -> TradeCursor:
        """Return the place of the trade among the closed trades."""
        return TradeCursor(closed_at_ms=self.closed_at_ms, rowid=self.rowid)


@attrs.frozen(kw_only=True)
class TradeCursor:
    """A place among the closed trades, which are sorted by time of closing.

    ``rowid`` separates equal times.
    """

    closed_at_ms: int
    rowid: int


@attrs.frozen(kw_only=True)
class OpenTradeRow:
    """A trade that its fills leave open.

    ``quantity`` is the net quantity of the fills in contracts, always positive. ``entry_price`` is
    the average of the opening fills. ``stop_price`` and ``target_price`` are those of the permit;
    None without a permit. ``strategy`` is empty without a signal.
    """

    trade_id: str
    symbol: str
    strategy: str
    side: Side
    quantity: Decimal
    entry_price: Decimal
    stop_price: Decimal | None
    target_price: Decimal | None
    opened_at_ms: int


@attrs.frozen(kw_only=True)
class OpenTradeId:
    """The id of a trade that may be open."""

    table: ClassVar[str] = "open_trade"
    trade_id: str


@attrs.frozen(kw_only=True)
class FillRow:
    """A recorded fill.

    ``key`` is ``SYMBOL:EXECUTION_ID``; ``trade_id`` is None if no trade is known.
    """

    table: ClassVar[str] = "fill"
    key: str
    symbol: str
    client_order_id: str
    trade_id: str | None
    side: OrderSide
    quantity: Decimal
    price: Decimal
    fee: Decimal
    slippage: Decimal
    maker: bool
    reason: FillReason
    at_ms: int
    source: FillSource


@attrs.frozen(kw_only=True)
class OrderRow:
    """An order, from its intent to its end at the venue.

    A price that the order's type does not have is None. ``accepted_at_ms`` and ``closed_at_ms`` are
    None until the order is accepted and terminal.
    """

    table: ClassVar[str] = "order_"
    client_order_id: str
    trade_id: str
    permit_id: str  # empty for reducing orders
    role: OrderRole
    attempt: int
    symbol: str
    side: OrderSide
    type: OrderType
    quantity: Decimal
    limit_price: Decimal | None
    trigger_price: Decimal | None
    status: OrderStatus
    filled: Decimal = ZERO
    venue_order_id: str = ""
    intended_at_ms: int
    accepted_at_ms: int | None = None
    closed_at_ms: int | None = None
    reason: str = ""


@attrs.frozen(kw_only=True)
class PermitRow:
    """A permit.

    ``consumed_at_ms`` and ``client_order_id`` are None until an order uses the permit,
    ``released_at_ms`` and ``release_reason`` until the permit is released.
    """

    table: ClassVar[str] = "permit"
    permit_id: str
    signal_id: str
    symbol: str
    side: Side
    quantity: Decimal
    entry_price: Decimal
    stop_price: Decimal
    target_price: Decimal
    risk: Decimal
    notional: Decimal
    bound_by: SizeLimit
    granted_at_ms: int
    expires_at_ms: int
    consumed_at_ms: int | None = None
    client_order_id: str | None = None
    released_at_ms: int | None = None
    release_reason: str | None = None


@attrs.frozen(kw_only=True)
class SignalRow:
    """A signal that passed the veto (T2), with the verdict of the refiner (T3).

    ``cycle_at_ms`` is 0 if no cycle has the signal's bar.
    """

    table: ClassVar[str] = "signal"
    signal_id: str
    cycle_at_ms: int
    strategy: str
    symbol: str
    side: Side
    score: float
    bar_opened_at_ms: int
    bar_closed_at_ms: int
    stop_distance: float
    target_distance: float
    close: float
    features: tuple[tuple[str, float], ...]
    proxy: str  # label of the data that replaced missing data; empty: none
    verdict: RefinerVerdict
    size_multiplier: Decimal


@attrs.frozen(kw_only=True)
class CycleRow:
    """One cycle with its counts.

    The last four fields are None until the reconciler has closed the cycle. The fields before them
    are 0 until the cycle is ranked.
    """

    table: ClassVar[str] = "cycle"
    primary_key: ClassVar[tuple[str, ...]] = ("cycle_at_ms",)
    cycle_at_ms: int
    bar_closed_at_ms: int = 0
    symbols: int = 0
    candidates: int = 0
    abstained: int = 0
    late_shards: int = 0
    vetoed: int = 0
    refused: int = 0
    positions: int | None = None
    open_orders: int | None = None
    drift: int | None = None
    closed_at_ms: int | None = None


@attrs.frozen(kw_only=True)
class TradeChain:
    """A trade with its fills, orders, permit, signal and cycle.

    An adopted position has no permit, no signal and no cycle.
    """

    trade_id: str
    trade: TradeRow | None  # None while it is open
    fills: tuple[FillRow, ...]
    orders: tuple[OrderRow, ...]
    permit: PermitRow | None
    signal: SignalRow | None
    cycle: CycleRow | None


@attrs.frozen(kw_only=True)
class TierRefusal:
    """A refusal of a candidate or an entry."""

    table: ClassVar[str] = "refusal"
    seq: int
    number: int  # 0 for the first refusal of that event
    at_ms: int
    tier: Tier  # VETO, REFINER or GOVERNOR
    signal_id: str
    strategy: str
    symbol: str
    denials: tuple[Denial, ...] = attrs.field(metadata={COLUMN: "codes"})


@attrs.frozen(kw_only=True)
class StateChangeRow:
    """A change of the trading state."""

    table: ClassVar[str] = "state"
    seq: int
    at_ms: int
    before: TradingState
    after: TradingState
    reason: StateReason
    figures: tuple[Figure, ...]


@attrs.frozen(kw_only=True)
class StateSpan:
    """A trading state with its reason; ``until_ms`` is None for the present state."""

    seq: int
    from_ms: int
    until_ms: int | None
    before: TradingState
    state: TradingState
    reason: StateReason
    figures: tuple[Figure, ...]


@attrs.frozen(kw_only=True)
class RunRow:
    """One run of a journal.

    ``stopped_at_ms`` and ``stop_reason`` are None during the run, and stay None if the process
    could not record its end, as after SIGKILL. ``change_reason`` is None if the run has the
    configuration of the run before.
    """

    table: ClassVar[str] = "run"
    primary_key: ClassVar[tuple[str, ...]] = ("run_number",)
    run_number: int
    mode: RunMode
    version: str
    config_digest: str
    started_at_ms: int
    stopped_at_ms: int | None = None
    stop_reason: RunEnd | None = None
    period_ms: int | None  # of its cycles
    change_reason: str | None


@attrs.frozen(kw_only=True)
class ConfigRow:
    """A configuration: settings that affect trades, and the reason of its first run."""

    table: ClassVar[str] = "config"
    digest: str
    first_ms: int
    body: str  # ``RunStarted.config_json``
    reason: str


class DowntimeCause(StrEnum):
    """The reason why no cycle closed, as ``store/projected_downtime.py`` finds it."""

    STOP = "stop"
    CRASH = "crash"
    SLEEP = "sleep"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"  # simulated time without a run: a halt ended a fast-forward early


@attrs.frozen(kw_only=True)
class Downtime:
    """More than two periods without a closed cycle, with the cause.

    A downtime lasts from the closing of one cycle to that of the next, without the real time of
    fast-forwards.
    """

    table: ClassVar[str] = "downtime"
    seq: int  # of the closing event that ended it
    number: int  # 0 for the first downtime of that event
    from_ms: int
    until_ms: int
    cause: DowntimeCause


@attrs.frozen(kw_only=True)
class Counts:
    """Totals since the journal began."""

    events: int
    cycles: int
    candidates: int
    abstained: int
    vetoed: int
    refused: int
    permits: int
    orders: int
    fills: int
    trades: int


@attrs.frozen(kw_only=True)
class Latest:
    """The newest run, trading state, equity snapshot and cycle of the journal.

    A field is None if the journal has none yet; ``head_seq`` is 0 before the first event.
    """

    head_seq: int
    at_ms: int | None  # of the newest event
    mode: RunMode | None
    run: RunRow | None
    state: StateSpan | None  # None: it was always active
    equity: EquityPoint | None
    cycle: CycleRow | None
