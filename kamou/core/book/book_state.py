"""State of the position book: its parts, and figures that need several parts.

A figure of one part is a method of that part. Only the fold (``core/book/fold.py``) changes a part.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import attrs

from kamou.clock import floor_ms
from kamou.core.book import trades as portfolio
from kamou.core.book.account_state import AccountState
from kamou.core.book.balance_changes import BalanceChange
from kamou.core.book.book_orders import BookOrders
from kamou.core.book.book_trades import BookTrades
from kamou.core.book.book_transfers import BookTransfers
from kamou.core.book.events import TradeClosed
from kamou.core.book.gate_states import GateStates
from kamou.core.book.midnights import Midnights
from kamou.core.book.open_day import OpenDay
from kamou.core.book.permits import BookPermits, Reservation
from kamou.core.book.recent_activity import RecentActivity
from kamou.core.book.reconciliation_state import ReconciliationState
from kamou.core.book.retention import OVERLAP_MS
from kamou.core.book.shadow_trades import ShadowTrades
from kamou.core.book.trades import OpenTrade
from kamou.core.book.trading_status import TradingStatus
from kamou.core.day import HOUR_MS, Day, day_start_ms
from kamou.core.kinds import ReleaseReason
from kamou.core.model import ZERO, Instrument


@attrs.define(kw_only=True)
class BookState:
    """The parts of the position book, and the figures that need several of them."""

    seq: int = 0  # of the newest applied event
    started_at_ms: int = 0  # start of the first run of this data directory
    instruments: dict[str, Instrument] = attrs.field(factory=dict)  # the newest, by symbol
    trading: TradingStatus = attrs.field(factory=TradingStatus)
    gate: GateStates = attrs.field(factory=GateStates)
    permits: BookPermits = attrs.field(factory=BookPermits)
    orders: BookOrders = attrs.field(factory=BookOrders)
    trades: BookTrades = attrs.field(factory=BookTrades)
    shadows: ShadowTrades = attrs.field(factory=ShadowTrades)
    recent_activity: RecentActivity = attrs.field(factory=RecentActivity)
    account: AccountState = attrs.field(factory=AccountState)
    # Fills, funding and transfers since shortly before the last day began, or since the oldest
    # transfer without a valuation, by fill key or income id. The next day's opening needs them.
    payments: dict[str, BalanceChange] = attrs.field(factory=dict)
    day: OpenDay = attrs.field(factory=OpenDay)
    midnights: Midnights = attrs.field(factory=Midnights)
    transfers: BookTransfers = attrs.field(factory=BookTransfers)
    reconciliation: ReconciliationState = attrs.field(factory=ReconciliationState)

    def equity_at_midnight(
        self, equity: Decimal, read_at_ms: int, marks: Mapping[str, Decimal]
    ) -> Decimal:
        """Return the equity at 00:00, money, from an equity read later on the same day.

        Fills and payments stamped from 00:00 to the read belong to the new day, so their effect is
        subtracted. The loss of a stop that filled at 00:00 counts for the new day.

        Args:
            equity: money, as read at ``read_at_ms``.
            read_at_ms: time of the read, by the venue's clock.
            marks: mark prices at the read, by symbol, of all symbols traded since 00:00.
        """
        from_ms = day_start_ms(read_at_ms)
        since = (p for p in self.payments.values() if from_ms <= p.at_ms <= read_at_ms)
        return equity - sum((p.worth(marks) for p in since), ZERO)

    def measure_day(
        self, equity: Decimal, exit_costs: Decimal = ZERO, *, at_ms: int | None = None
    ) -> Day:
        """Return the open UTC day's money up to an instant, without stretches.

        Args:
            equity: equity at the instant, money.
            exit_costs: cost of closing all positions then, money.
            at_ms: the instant; None: ``equity`` includes every recorded transfer. A transfer
                stamped later is not in ``equity``, so it does not count.
        """
        net_deposits = self.day.net_deposits
        if at_ms is not None:
            later = (p.amount for p in self.payments.values() if p.transfer and p.at_ms > at_ms)
            net_deposits -= sum(later, ZERO)
        return Day(
            equity_start=self.day.equity,
            equity=equity,
            net_deposits=net_deposits,
            exit_costs=exit_costs,
        )

    def fills_since_ms(self) -> int:
        """Return the time, in ms, from which the venue's fills and income are read.

        It is ``OVERLAP_MS`` before the start of the first run or the last but one cycle without
        drift, whichever is later. At least two cycles read each fill and each income, because the
        venue may list it late.
        """
        return max(0, max(self.started_at_ms, self.reconciliation.clean_before_ms) - OVERLAP_MS)

    def pending_closures(self, at_ms: int) -> tuple[TradeClosed, ...]:
        """Return the results of flat trades whose ``TradeClosed`` is not applied yet.

        A trade that was open at the last full hour before its end waits for an equity snapshot of
        that hour or later. The reconciliation that made the snapshot has read the hour's funding,
        which belongs to the result.
        """
        return tuple(
            portfolio.closed_trade(t, at_ms)
            for t in self.trades.finished.values()
            if not self._funding_awaited(t)
        )

    def _funding_awaited(self, trade: OpenTrade) -> bool:
        settled_ms = floor_ms(trade.changed_at_ms, HOUR_MS)
        # Both times are the venue's, because this machine's clock may be ahead of it.
        return trade.opened_at_ms < settled_ms and self.account.marked_ms < settled_ms

    def releasable_permits(self, now_ms: int) -> tuple[tuple[str, ReleaseReason], ...]:
        """Return the permit id of each reservation that may end, with the reason."""
        trades = (*self.trades.open.values(), *self.trades.finished.values())
        held = {t.permit_id for t in trades}
        return tuple(
            (permit_id, reason)
            for permit_id, reservation in self.permits.reservations.items()
            if permit_id not in held and (reason := self._release_reason(reservation, now_ms))
        )

    def _release_reason(self, reservation: Reservation, now_ms: int) -> ReleaseReason | None:
        """Return the reason to end the reservation, or None if it may not end yet."""
        if not reservation.client_order_id:
            return ReleaseReason.EXPIRED if now_ms >= reservation.expires_at_ms else None
        if reservation.client_order_id in self.orders.unsettled:
            return None
        order = self.orders.settled.get(reservation.client_order_id)
        if order is not None and not order.filled:
            return ReleaseReason.NO_FILL
        return ReleaseReason.TRADE_CLOSED
