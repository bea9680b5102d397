"""Frozen rows and totals that the queries return, and ``TradeCursor`` for pages.

Money is ``Decimal``, and times are in ms UTC.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.day import Day
from kamou.core.model import Denial, Figure


@attrs.frozen(kw_only=True)
class EquityPoint:
    """An equity snapshot.

    ``net_deposits`` are the net deposits since inception.
    """

    at_ms: int
    equity: Decimal
    wallet_balance: Decimal
    unrealized_pnl: Decimal
    margin_used: Decimal
    open_risk: Decimal
    net_deposits: Decimal


@attrs.frozen(kw_only=True)
class DayRow:
    """A row of the record: a UTC day, a part of one, or several days.

    A row has several days if a midnight's equity is unknown. The first row and the open one may be
    a part of a day.

    ``return_`` is the time-weighted return from start to end, as a fraction; None if there was no
    equity to earn it on. ``trades`` and ``pnl`` count the trades that closed in the row. ``fees``,
    ``funding`` and ``net_deposits`` add up the venue's payments whose time is in the row.
    """

    day: str  # YYYY-MM-DD, the first calendar day
    last_day: str  # the last calendar day; later than ``day`` if a midnight's equity is unknown
    start_ms: int
    end_ms: int
    complete: bool  # one whole day whose both midnights are known
    equity_start: Decimal
    equity_end: Decimal
    return_: float | None
    net_deposits: Decimal
    trades: int
    fees: Decimal
    funding: Decimal
    pnl: Decimal
    start_rebuilt: str = ""  # source of a rebuilt midnight's mark prices; empty: it was read
    end_rebuilt: str = ""  # likewise, at the end
    corrections: int = 0  # late fills and payments that changed the equity of a midnight of the row

    @property
    def separable(self) -> bool:
        """True if the row is one calendar day or a part of one."""
        return self.day == self.last_day

    @property
    def change(self) -> Decimal:
        """Profit or loss in money, without deposits and withdrawals.

        The change is the equity at the end less that at the start less net deposits.
        """
        return Day(
            equity_start=self.equity_start, equity=self.equity_end, net_deposits=self.net_deposits
        ).change


@attrs.frozen(kw_only=True)
class MonthRow:
    """The sums over the rows that ended in one calendar month.

    ``return_`` compounds the returns of its rows; it is None if one of them has none.
    ``complete`` counts the complete days; ``gaining`` and ``losing`` count those of them with a
    positive and a negative return. ``unseparated`` counts the calendar days of the rows that are
    longer than a day.
    """

    month: str  # YYYY-MM
    equity_end: Decimal
    return_: float | None
    change: Decimal
    net_deposits: Decimal
    trades: int
    fees: Decimal
    funding: Decimal
    complete: int
    gaining: int
    losing: int
    unseparated: int


@attrs.frozen(kw_only=True)
class TradeRow:
    """A closed round trip, from ``core.book.events.TradeClosed``.

    ``side`` is ``long`` or ``short``.
    """

    trade_id: str
    symbol: str
    strategy: str
    side: str
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
    exit_reason: str
    rowid: int

    @property
    def cursor(self) -> TradeCursor:
        """Place of the trade among the closed trades."""
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

    ``quantity`` is the net quantity of the fills, always positive.
    """

    trade_id: str
    symbol: str
    strategy: str
    side: str
    quantity: Decimal
    entry_price: Decimal
    stop_price: Decimal | None
    target_price: Decimal | None
    opened_at_ms: int


@attrs.frozen(kw_only=True)
class FillRow:
    """A recorded fill.

    ``key`` is ``SYMBOL:EXECUTION_ID``; ``trade_id`` is None if no trade is known.
    """

    key: str
    symbol: str
    client_order_id: str
    trade_id: str | None
    side: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    slippage: Decimal
    maker: bool
    reason: str
    at_ms: int
    source: str


@attrs.frozen(kw_only=True)
class OrderRow:
    """An order, from its intent to its end at the venue."""

    client_order_id: str
    trade_id: str
    permit_id: str
    role: str
    attempt: int
    symbol: str
    side: str
    type: str
    quantity: Decimal
    limit_price: Decimal | None
    trigger_price: Decimal | None
    status: str
    filled: Decimal
    venue_order_id: str
    intended_at_ms: int
    accepted_at_ms: int | None
    closed_at_ms: int | None
    reason: str


@attrs.frozen(kw_only=True)
class PermitRow:
    """A permit; ``consumed_at_ms`` and ``released_at_ms`` are None until that happens."""

    permit_id: str
    signal_id: str
    symbol: str
    side: str
    quantity: Decimal
    entry_price: Decimal
    stop_price: Decimal
    target_price: Decimal
    risk: Decimal
    notional: Decimal
    bound_by: str
    granted_at_ms: int
    expires_at_ms: int
    consumed_at_ms: int | None
    client_order_id: str | None
    released_at_ms: int | None
    release_reason: str | None


@attrs.frozen(kw_only=True)
class SignalRow:
    """A signal that passed the veto (T2), with the verdict of the refiner (T3)."""

    signal_id: str
    cycle_at_ms: int
    strategy: str
    symbol: str
    side: str
    score: float
    bar_opened_at_ms: int
    bar_closed_at_ms: int
    stop_distance: float
    target_distance: float
    close: float
    features: tuple[tuple[str, float], ...]
    proxy: str
    verdict: str
    size_multiplier: Decimal


@attrs.frozen(kw_only=True)
class CycleRow:
    """One cycle with its counts.

    The last four fields are None until the reconciler has closed the cycle.
    """

    cycle_at_ms: int
    bar_closed_at_ms: int
    symbols: int
    candidates: int
    abstained: int
    late_shards: int
    vetoed: int
    refused: int
    positions: int | None
    open_orders: int | None
    drift: int | None
    closed_at_ms: int | None


@attrs.frozen(kw_only=True)
class TradeChain:
    """A trade with its fills, orders, permit, signal and cycle.

    An adopted position has no permit and no signal.
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
    """A refusal of a candidate or an entry.

    ``tier`` is ``T2`` (veto), ``T3`` (refiner) or ``governor``.
    """

    seq: int
    at_ms: int
    tier: str
    signal_id: str
    strategy: str
    symbol: str
    denials: tuple[Denial, ...]


@attrs.frozen(kw_only=True)
class StateSpan:
    """A trading state with its reason; ``until_ms`` is None for the present state."""

    seq: int
    from_ms: int
    until_ms: int | None
    before: str
    state: str
    reason: str
    figures: tuple[Figure, ...]


@attrs.frozen(kw_only=True)
class RunRow:
    """One run of a journal.

    ``stopped_at_ms`` is None while it runs, and stays None if the process could not record its end,
    as after SIGKILL. ``stop_reason`` is ``stopped`` or ``crashed``. ``change_reason`` is None if
    the run has the configuration of the run before.
    """

    run_number: int
    mode: str
    version: str
    config_digest: str
    started_at_ms: int
    stopped_at_ms: int | None
    stop_reason: str | None
    change_reason: str | None


@attrs.frozen(kw_only=True)
class Downtime:
    """More than two periods without a closed cycle, with the cause.

    A downtime lasts from the closing of one cycle to that of the next, less fast-forwards.
    """

    from_ms: int
    until_ms: int
    cause: str  # stop | crash | sleep | skipped | unknown; see store/projected_downtime.py


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
    """The newest run, state, equity, cycle and day of the journal.

    A field is None if the journal has none yet; ``head_seq`` is 0.
    """

    head_seq: int
    at_ms: int | None  # of the newest event
    mode: str | None
    run: RunRow | None
    state: StateSpan | None  # None: it was always active
    equity: EquityPoint | None
    cycle: CycleRow | None
