"""What the book holds: trades, orders, promises, money, and the questions deciders ask of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import attrs

from kamou.clock import floor_ms
from kamou.core.book import events as e
from kamou.core.book import trades as portfolio
from kamou.core.book.attribution import PublishedTrade, correction
from kamou.core.book.late_events import DayCorrected, ResultCorrected, TransferValued
from kamou.core.book.orders import OrderState
from kamou.core.book.recent_activity import RecentActivity
from kamou.core.book.trades import OpenTrade
from kamou.core.day import HOUR_MS, day_start_ms
from kamou.core.model import ZERO, Figure, Income, OrderRole, Plan, TradingState

OVERLAP_MS = 300_000  # fills and income are read again this far back: venues publish late


@attrs.frozen(kw_only=True)
class Reservation:
    """A granted permit's claim on the budget. Shrinks as its fills become a trade."""

    plan: Plan
    expires_at_ms: int
    remaining: Decimal  # contracts still reserved
    client_order_id: str = ""  # of its entry order, once there is one

    @property
    def risk(self) -> Decimal:
        """Money still reserved."""
        return self.plan.risk * self.remaining / self.plan.quantity

    @property
    def notional(self) -> Decimal:
        return self.plan.notional * self.remaining / self.plan.quantity


@attrs.frozen(kw_only=True)
class BalanceChange:
    """What one fill or one payment did to the wallet balance, by the venue's time."""

    at_ms: int
    amount: Decimal  # money, signed: realized profit less the fee, funding, a transfer
    transfer: bool = False
    symbol: str = ""  # of a fill
    units: Decimal = ZERO  # that it bought, of the base currency; negative: sold
    price: Decimal = ZERO  # that it filled at
    contracts: Decimal = ZERO  # in place of ``units``, of a fill of no known trade

    def worth(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Return what it changed the equity by, with everything valued at ``marks``.

        A fill that bought units at a price below their mark gained the difference. Without a mark
        of its symbol only ``amount`` is known.
        """
        mark = marks.get(self.symbol)
        return self.amount if mark is None else self.amount + self.units * (mark - self.price)


@attrs.frozen(kw_only=True)
class Unassigned:
    """Fills of one symbol, while nothing is held in it, that belong to no trade of the book."""

    quantity: Decimal  # contracts, signed: what they leave open together
    known_ms: int  # when the newest of them was recorded, by our clock


@attrs.frozen(kw_only=True)
class OpenedMidnight:
    """A 00:00 whose equity was published; what the venue lists later may still belong to it."""

    at_ms: int
    read_at_ms: int  # of the account: entries up to here were in it
    equity: Decimal  # as now known
    published: Decimal
    marks: dict[str, Decimal]
    corrections: int = 0
    cause: str = ""  # the newest entry that changed it


@attrs.frozen(kw_only=True)
class ValuedTransfer:
    """A transfer whose equity just before it was published; late entries may still change it."""

    event: TransferValued  # the newest one
    equity: Decimal  # as now known
    marks: dict[str, Decimal]
    cause: str = ""  # the newest entry that changed it


def group_by_symbol(marks: Iterable[Figure]) -> dict[str, Decimal]:
    """Return the marks of an event or a message, whose figures are named by symbol."""
    return {mark.name: Decimal(mark.value) for mark in marks}


@attrs.define(kw_only=True)
class BookState:
    """The state, and what may be asked of it. Only ``Book.apply`` changes it."""

    seq: int = 0  # of the last applied event
    run_number: int = 0
    mode: str = ""
    started_at_ms: int = 0  # of the first run ever

    trades: dict[str, OpenTrade] = attrs.field(factory=dict)  # open, by symbol
    finished: dict[str, OpenTrade] = attrs.field(factory=dict)  # flat, not yet published, by id
    unassigned: dict[str, Unassigned] = attrs.field(factory=dict)  # by symbol, until adopted
    published: dict[str, PublishedTrade] = attrs.field(factory=dict)  # lately, by result id
    unattributed: dict[str, Income] = attrs.field(factory=dict)  # funding of no known trade, by id
    orders: dict[str, OrderState] = attrs.field(factory=dict)  # not settled, by client order id
    closed: dict[str, OrderState] = attrs.field(factory=dict)  # settled lately, by client order id
    reservations: dict[str, Reservation] = attrs.field(factory=dict)  # by permit id
    released: dict[str, int] = attrs.field(factory=dict)  # permit ids that ended lately, when

    state: TradingState = TradingState.ACTIVE
    state_reason: str = ""
    state_since_ms: int = 0

    disabled: dict[str, int] = attrs.field(factory=dict)  # strategy -> since when
    resumed: dict[str, int] = attrs.field(factory=dict)  # strategy -> when the operator did

    day: str = ""  # YYYY-MM-DD, UTC
    day_opened_at_ms: int = 0
    day_equity: Decimal = ZERO  # at the day's opening
    day_from_ms: int = 0  # entries stamped from here on are of the day
    day_last_ms: int = 0  # the day's newest mark of the account, and its equity
    day_last_equity: Decimal = ZERO
    day_net_deposits: Decimal = ZERO  # transfers of this UTC day, by their own time
    day_marks: dict[str, Decimal] = attrs.field(factory=dict)  # that the day opened with
    midnights: dict[str, OpenedMidnight] = attrs.field(factory=dict)  # of the newest read, by day
    # Fills, funding and transfers since the last day began: the opening of the next sorts them.
    payments: dict[str, BalanceChange] = attrs.field(factory=dict)
    net_deposits: Decimal = ZERO  # since inception
    unvalued: dict[int, str] = attrs.field(factory=dict)  # transfers by time, each with an id
    valued: dict[int, ValuedTransfer] = attrs.field(factory=dict)  # the newest, by time

    equity: Decimal = ZERO  # at the last mark
    wallet_balance: Decimal = ZERO
    unrealized_pnl: Decimal = ZERO
    margin_used: Decimal = ZERO
    open_risk: Decimal = ZERO
    marked_ms: int = 0
    # Since the account was read for the last mark, by fill key or income id.
    balance_changes: dict[str, BalanceChange] = attrs.field(factory=dict)
    unexplained_ms: int = 0  # the newest fill or correction whose money is not known

    cycle_at_ms: int = 0  # the last cycle that was closed
    reconciled_ms: int = 0  # the last cycle that closed without drift
    reconciled_before_ms: int = 0  # and the one before it
    drift: dict[str, str] = attrs.field(factory=dict)  # unexplained: symbol -> kind

    fills_seen: dict[str, int] = attrs.field(factory=dict)  # key -> at_ms, within the overlap
    incomes_seen: dict[str, int] = attrs.field(factory=dict)
    conduct: RecentActivity = attrs.field(factory=RecentActivity)

    # --- reading -----------------------------------------------------------------

    def equity_at_midnight(
        self, equity: Decimal, read_at_ms: int, marks: Mapping[str, Decimal]
    ) -> Decimal:
        """Return the equity at 00:00 from ``equity``, read in the first moments of a UTC day.

        Fills, funding and transfers that are stamped 00:00 or later belong to the day that begins,
        so what they changed is taken back: a stop that filled at 00:00 below the mark is a loss of
        today, and its position counts at the mark.

        Args:
            marks: of what was traded since 00:00, of the time of the read.
        """
        from_ms = day_start_ms(read_at_ms)
        since = (p for p in self.payments.values() if from_ms <= p.at_ms <= read_at_ms)
        return equity - sum((p.worth(marks) for p in since), ZERO)

    @property
    def sizing_equity(self) -> Decimal:
        """Q = min(equity, balance) at the last mark: what every limit is a fraction of."""
        return min(self.equity, self.wallet_balance)

    @property
    def drifting(self) -> bool:
        """A difference from the venue that nothing explains yet."""
        return bool(self.drift)

    def position(self, symbol: str) -> Decimal:
        """Contracts held, signed; 0 when flat."""
        trade = self.trades.get(symbol)
        return trade.signed if trade else ZERO

    def order(self, client_order_id: str) -> OrderState | None:
        """An order of ours: not settled, or settled lately."""
        return self.orders.get(client_order_id) or self.closed.get(client_order_id)

    def orders_of(self, symbol: str) -> tuple[OrderState, ...]:
        """Orders of a symbol that are not settled."""
        return tuple(o for o in self.orders.values() if o.intent.symbol == symbol)

    def entry_live(self, symbol: str) -> bool:
        """Whether an entry in this symbol may still fill."""
        return any(
            o.intent.symbol == symbol and o.role is OrderRole.ENTRY and o.remaining > 0
            for o in self.orders.values()
        )

    def fills_since_ms(self) -> int:
        """Ask the venue for fills and income from here on: in two cycles at least for each."""
        return max(0, max(self.started_at_ms, self.reconciled_before_ms) - OVERLAP_MS)

    def pending_closures(self, at_ms: int) -> tuple[e.TradeClosed, ...]:
        """Flat trades, ready to be journalled. Gone once ``TradeClosed`` is applied.

        A trade that was held at a full hour waits for the reconciliation that reads what was
        settled then: its funding is part of its result.
        """
        return tuple(
            portfolio.closed_trade(t, at_ms)
            for t in self.finished.values()
            if not self._funding_awaited(t)
        )

    def pending_corrections(self, at_ms: int) -> tuple[ResultCorrected, ...]:
        """Published results that late funding changed. Gone once ``ResultCorrected`` is applied."""
        made = (correction(each, at_ms) for each in self.published.values())
        return tuple(event for event in made if event is not None)

    def pending_day_corrections(self, at_ms: int) -> tuple[DayCorrected, ...]:
        """Midnights that a late entry changed. Gone once ``DayCorrected`` is applied."""
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
        """Valued transfers that a late entry changed. Gone once ``TransferValued`` is applied."""
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
        # By the venue's clock on both sides: ours may be ahead, and the cycle with it.
        return trade.opened_at_ms < settled_ms and self.marked_ms < settled_ms

    def releasable(self, now_ms: int) -> tuple[tuple[str, str], ...]:
        """Permits whose reservation may end, each with the reason: journal ``PermitReleased``."""
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
