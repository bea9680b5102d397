"""Contents of the position book, and the queries on them.

Among the contents are instruments, trades, orders, reservations, balance changes, midnights,
transfers, the trading state, the day, drift and recent activity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import attrs

from kamou.clock import floor_ms
from kamou.core.book import events as e
from kamou.core.book import trades as portfolio
from kamou.core.book.attribution import PublishedTrade, make_correction
from kamou.core.book.late_events import DayCorrected, ResultCorrected, TransferValued
from kamou.core.book.orders import OrderState
from kamou.core.book.recent_activity import RecentActivity
from kamou.core.book.trades import OpenTrade
from kamou.core.codes import StateReason
from kamou.core.day import HOUR_MS, Day, day_start_ms
from kamou.core.model import ZERO, Figure, Income, Instrument, OrderRole, Plan, TradingState

OVERLAP_MS = 300_000  # fills and income are read again this far back, because venues list them late


@attrs.frozen(kw_only=True)
class Reservation:
    """Risk and notional that a permit reserves. They shrink as its entry fills."""

    plan: Plan
    expires_at_ms: int
    remaining: Decimal  # contracts still reserved
    client_order_id: str = ""  # of its entry order; empty before the intent

    @property
    def risk(self) -> Decimal:
        """Risk still reserved, money."""
        return self.plan.risk * self.remaining / self.plan.quantity

    @property
    def notional(self) -> Decimal:
        """Notional still reserved, money."""
        return self.plan.notional * self.remaining / self.plan.quantity


@attrs.frozen(kw_only=True)
class BalanceChange:
    """Change of the wallet balance by one fill or payment, at the venue's time."""

    at_ms: int
    # Money, signed: funding, a transfer, or of a fill the realized profit less the fee. A fill in
    # ``BookState.payments`` has the fee only; ``worth`` adds the rest.
    amount: Decimal
    transfer: bool = False
    symbol: str = ""  # of a fill
    units: Decimal = ZERO  # base units that the fill bought; negative: sold
    price: Decimal = ZERO  # of the fill
    contracts: Decimal = ZERO  # signed, instead of ``units`` if no known trade has the fill

    def worth(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Return the change of the equity, money, with positions valued at ``marks``.

        A fill that bought units below their mark gained the difference. Without a mark of its
        symbol this is ``amount`` alone.
        """
        mark = marks.get(self.symbol)
        return self.amount if mark is None else self.amount + self.units * (mark - self.price)


@attrs.frozen(kw_only=True)
class Unassigned:
    """Fills of a symbol without a trade, which belong to no trade."""

    quantity: Decimal  # contracts, signed: sum of the fills
    known_ms: int  # time of the newest record, by this machine's clock


@attrs.frozen(kw_only=True)
class OpenedMidnight:
    """Midnight with published equity, which late fills and payments may still change."""

    at_ms: int
    read_at_ms: int  # of the account read, which had all fills and payments until then
    equity: Decimal  # as now known
    published: Decimal
    marks: dict[str, Decimal]
    corrections: int = 0
    cause: str = ""  # id of the newest fill or payment that changed it


@attrs.frozen(kw_only=True)
class ValuedTransfer:
    """A transfer with the equity just before it.

    A fill, fee or payment that the venue lists late may still change that equity.
    """

    event: TransferValued  # the newest one
    equity: Decimal  # as now known
    marks: dict[str, Decimal]
    cause: str = ""  # id of the newest fill or payment that changed it


def group_by_symbol(marks: Iterable[Figure]) -> dict[str, Decimal]:
    """Return marks by symbol, from figures that are named by symbol."""
    return {mark.name: Decimal(mark.value) for mark in marks}


@attrs.define(kw_only=True)
class BookState:
    """Contents of the book, with queries. Only ``PositionBook.apply`` changes them."""

    seq: int = 0  # of the newest applied event
    run_number: int = 0
    mode: str = ""
    started_at_ms: int = 0  # start of the first run of this data directory

    instruments: dict[str, Instrument] = attrs.field(factory=dict)  # newest listed, by symbol

    trades: dict[str, OpenTrade] = attrs.field(factory=dict)  # open, by symbol
    finished: dict[str, OpenTrade] = attrs.field(factory=dict)  # flat, not yet published, by id
    unassigned: dict[str, Unassigned] = attrs.field(factory=dict)  # by symbol, until adopted
    published: dict[str, PublishedTrade] = attrs.field(factory=dict)  # the newest, by result id
    unattributed: dict[str, Income] = attrs.field(factory=dict)  # funding without a trade, by id
    orders: dict[str, OrderState] = attrs.field(factory=dict)  # not settled, by client order id
    closed: dict[str, OrderState] = attrs.field(factory=dict)  # newest settled, by client order id
    reservations: dict[str, Reservation] = attrs.field(factory=dict)  # by permit id
    released: dict[str, int] = attrs.field(factory=dict)  # newest released: permit id -> at_ms

    state: TradingState = TradingState.ACTIVE
    state_reason: StateReason | None = None  # None: the state never changed
    state_since_ms: int = 0

    disabled: dict[str, int] = attrs.field(factory=dict)  # strategy -> at_ms
    resumed: dict[str, int] = attrs.field(factory=dict)  # strategy -> at_ms, newest

    day: str = ""  # YYYY-MM-DD, UTC
    day_opened_at_ms: int = 0
    day_equity: Decimal = ZERO  # at the day's opening
    day_from_ms: int = 0  # fills and payments from this time on belong to the day
    day_last_ms: int = 0  # the day's newest equity snapshot, and its equity
    day_last_equity: Decimal = ZERO
    day_net_deposits: Decimal = ZERO  # of this UTC day, by the venue's time
    day_marks: dict[str, Decimal] = attrs.field(factory=dict)  # marks of ``DayOpened``, by symbol
    midnights: dict[str, OpenedMidnight] = attrs.field(factory=dict)  # of the newest read, by day
    # Fills, funding and transfers since shortly before the last day began, or since the oldest
    # transfer without a valuation. The next day's opening needs them.
    payments: dict[str, BalanceChange] = attrs.field(factory=dict)
    net_deposits: Decimal = ZERO  # since inception
    unvalued: dict[int, str] = attrs.field(factory=dict)  # transfers by time, each with an id
    valued: dict[int, ValuedTransfer] = attrs.field(factory=dict)  # the newest, by time

    equity: Decimal = ZERO  # of the newest equity snapshot, as the four figures below
    wallet_balance: Decimal = ZERO
    unrealized_pnl: Decimal = ZERO
    margin_used: Decimal = ZERO
    open_risk: Decimal = ZERO
    marked_ms: int = 0
    # Changes since the newest equity snapshot, by fill key or income id.
    balance_changes: dict[str, BalanceChange] = attrs.field(factory=dict)
    unexplained_ms: int = 0  # newest fill or correction with an unknown effect on the balance

    cycle_at_ms: int = 0  # of the last closed cycle
    reconciled_ms: int = 0  # of the last cycle that closed without drift
    reconciled_before_ms: int = 0  # of the cycle without drift before that
    drift: dict[str, str] = attrs.field(factory=dict)  # unexplained: symbol -> kind

    fills_seen: dict[str, int] = attrs.field(factory=dict)  # key -> at_ms, within the overlap
    incomes_seen: dict[str, int] = attrs.field(factory=dict)
    recent_activity: RecentActivity = attrs.field(factory=RecentActivity)

    # --- queries -----------------------------------------------------------------

    def equity_at_midnight(
        self, equity: Decimal, read_at_ms: int, marks: Mapping[str, Decimal]
    ) -> Decimal:
        """Return the equity at 00:00, money, from an equity read shortly after.

        Fills, funding and transfers stamped 00:00 or later belong to the new day, so their effect
        is subtracted. The loss of a stop that filled at 00:00 counts for the new day.

        Args:
            equity: money, as read at ``read_at_ms``.
            marks: marks at the read, by symbol, of all symbols traded since 00:00.
        """
        from_ms = day_start_ms(read_at_ms)
        since = (p for p in self.payments.values() if from_ms <= p.at_ms <= read_at_ms)
        return equity - sum((p.worth(marks) for p in since), ZERO)

    def measure_day(
        self, equity: Decimal, exit_costs: Decimal = ZERO, *, at_ms: int | None = None
    ) -> Day:
        """Return the open UTC day's money up to an instant, without stretches.

        Args:
            equity: at the instant, money.
            exit_costs: of closing all positions then, money.
            at_ms: the instant; None: ``equity`` includes every recorded transfer. A transfer
                stamped later is not in ``equity``, so it does not count.
        """
        net_deposits = self.day_net_deposits
        if at_ms is not None:
            later = (p.amount for p in self.payments.values() if p.transfer and p.at_ms > at_ms)
            net_deposits -= sum(later, ZERO)
        return Day(
            equity_start=self.day_equity,
            equity=equity,
            net_deposits=net_deposits,
            exit_costs=exit_costs,
        )

    @property
    def sizing_equity(self) -> Decimal:
        """min(equity, wallet balance) of the newest snapshot, money."""
        return min(self.equity, self.wallet_balance)

    @property
    def drifting(self) -> bool:
        """True while a difference from the venue is unexplained."""
        return bool(self.drift)

    def position(self, symbol: str) -> Decimal:
        """Return the open contracts of a symbol, signed; 0 without a position."""
        trade = self.trades.get(symbol)
        return trade.signed if trade else ZERO

    def order(self, client_order_id: str) -> OrderState | None:
        """Return the order, or None if it is unknown or was settled too long ago."""
        return self.orders.get(client_order_id) or self.closed.get(client_order_id)

    def orders_of(self, symbol: str) -> tuple[OrderState, ...]:
        """Return the orders of a symbol that are not settled."""
        return tuple(o for o in self.orders.values() if o.intent.symbol == symbol)

    def has_live_entry(self, symbol: str) -> bool:
        """Return True if an entry in this symbol may fill, or has unrecorded fills."""
        return any(
            o.intent.symbol == symbol and o.role is OrderRole.ENTRY and o.remaining > 0
            for o in self.orders.values()
        )

    def fills_since_ms(self) -> int:
        """Return the time from which fills and income are read.

        At least two cycles read each fill and each income, because the venue may list it late.
        """
        return max(0, max(self.started_at_ms, self.reconciled_before_ms) - OVERLAP_MS)

    def pending_closures(self, at_ms: int) -> tuple[e.TradeClosed, ...]:
        """Return the results of flat trades whose ``TradeClosed`` is not applied yet.

        A trade that was open at the last full hour before its end waits until the reconciliation
        has read the funding of that hour, because the result includes that funding.
        """
        return tuple(
            portfolio.closed_trade(t, at_ms)
            for t in self.finished.values()
            if not self._funding_awaited(t)
        )

    def pending_corrections(self, at_ms: int) -> tuple[ResultCorrected, ...]:
        """Return corrections of results that late funding has changed."""
        made = (make_correction(each, at_ms) for each in self.published.values())
        return tuple(event for event in made if event is not None)

    def pending_day_corrections(self, at_ms: int) -> tuple[DayCorrected, ...]:
        """Return corrections of midnights that a late fill or payment has changed."""
        return tuple(
            DayCorrected(
                at_ms=at_ms,
                cause_id=opened.cause,
                day=day,
                number=opened.corrections + 1,
                before=opened.published,
                equity=opened.equity,
            )
            for day, opened in self.midnights.items()
            if opened.equity != opened.published
        )

    def pending_valuations(self, at_ms: int) -> tuple[TransferValued, ...]:
        """Return new valuations of transfers that a late fill or payment changed."""
        return tuple(
            attrs.evolve(
                valued.event,
                at_ms=at_ms,
                cause_id=valued.cause,
                number=valued.event.number + 1,
                equity=valued.equity,
            )
            for valued in self.valued.values()
            if valued.equity != valued.event.equity
        )

    def _funding_awaited(self, trade: OpenTrade) -> bool:
        settled_ms = floor_ms(trade.changed_at_ms, HOUR_MS)
        # Both times are the venue's, because this machine's clock may be ahead of it.
        return trade.opened_at_ms < settled_ms and self.marked_ms < settled_ms

    def releasable_permits(self, now_ms: int) -> tuple[tuple[str, str], ...]:
        """Return the permit id of each reservation that may end, with the reason."""
        held = {t.permit_id for t in (*self.trades.values(), *self.finished.values())}
        return tuple(
            (permit_id, reason)
            for permit_id, reservation in self.reservations.items()
            if permit_id not in held and (reason := self._release_reason(reservation, now_ms))
        )

    def _release_reason(self, reservation: Reservation, now_ms: int) -> str:
        if not reservation.client_order_id:
            return "expired" if now_ms >= reservation.expires_at_ms else ""
        if reservation.client_order_id in self.orders:
            return ""
        order = self.closed.get(reservation.client_order_id)
        return "no_fill" if order is not None and not order.filled else "trade_closed"
