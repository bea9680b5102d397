"""Invariant 10, the daily loss limit: it takes effect at the limit and not before."""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.book import events as e
from kamou.core.book.position_book import PositionBook
from kamou.core.codes import StateReason
from kamou.core.model import ZERO, Intent, TradingState
from kamou.simulator.invariants.observed import Observed, ReportViolation
from kamou.simulator.invariants.outside_changes import KNOWN_AFTER_MS
from kamou.venue.state import AuditRecord, FillAudit, MoneyAudit, MoneyKind
from kamou.venue.violations import HardRule

LOSS_SLACK = Decimal("0.001")  # of the day's equity, which changes between two reads


@attrs.define
class DayLoss:
    """The day's loss by the venue's records, since the journal opened the day."""

    observed: Observed
    report: ReportViolation
    equity: Decimal = ZERO  # at the day's start
    net_deposits: Decimal = ZERO
    _fees: Decimal = ZERO
    _opening_most: Decimal = ZERO  # highest opening equity that a journal may count from
    _transfers: list[tuple[int, Decimal]] = attrs.Factory(list)  # since the day was opened

    def record_audit(self, record: AuditRecord) -> None:
        """Record a transfer or the fee of a fill."""
        if isinstance(record, FillAudit):
            self._fees += record.fee
        elif isinstance(record, MoneyAudit) and record.kind is MoneyKind.TRANSFER:
            self.net_deposits += record.amount
            self._transfers.append((record.at_ms, record.amount))

    def restore_book(self, book: PositionBook) -> None:
        """Continue with the book of a restored journal."""
        # The opening and the transfers counted since belong together (seed 930124).
        known = {(p.at_ms, p.amount) for p in book.payments.values() if p.transfer}
        forgotten = [paid for paid in self._transfers if paid not in known]
        in_opening = [amount for at_ms, amount in forgotten if at_ms <= book.day.opened_at_ms]
        self.equity = book.day.equity - sum(in_opening, ZERO)  # until the venue lists it
        self._opening_most = self.equity
        self.net_deposits = book.day.net_deposits + sum((amount for _, amount in forgotten), ZERO)

    def open_day(self, event: e.DayOpened) -> None:
        """Open a day at its equity of 00:00 UTC.

        Transfers since then are its net deposits. A journal that begins within the day counts its
        transfers the same way (seed 1000448).
        """
        from_ms = event.midnight_at_ms if event.at_midnight else event.at_ms + 1
        self.equity = event.equity if event.opening is None else event.opening
        if event.opening is None:
            paid = (paid for at_ms, paid in self._transfers if from_ms <= at_ms <= event.at_ms)
            self.equity -= sum(paid, ZERO)
            if self.equity <= 0:  # all was deposited today, so the day begins with the read
                self.equity, from_ms = event.equity, event.at_ms + 1
        # Without the equity of midnight the journal adds back the fees that it has, and no gain of
        # fills whose trades it does not have (seed 930695).
        self._opening_most = self.equity + (self._fees if event.opening is None else 0)
        self._transfers = [each for each in self._transfers if each[0] >= from_ms]
        self.net_deposits = sum((amount for _, amount in self._transfers), ZERO)

    def check_change(self, event: e.StateChanged) -> None:
        """Check a change of the trading state for the day's loss.

        It must not come before the loss that it is for.
        """
        limits = self.observed.limits
        share = {
            StateReason.DAY_LOSS_HALF: limits.reduced_at,
            StateReason.DAY_LOSS_LIMIT: Decimal(1),
            StateReason.DAY_LOSS_SEVERE: limits.flatten_at,
        }.get(event.reason)
        worst = max(self._losses(self._opening_most), default=ZERO)
        if share is not None and worst + LOSS_SLACK < limits.daily_loss_max * share:
            detail = f"{event.reason} at a day's loss of {worst:.3%}"
            self.report(HardRule.FALSE_ALARM, self.observed.engine.market_ms, "", detail)

    def _losses(self, opened: Decimal) -> list[Decimal]:
        """Return the day's loss at each sample, as a fraction of the equity ``opened``."""
        if not opened:
            return []
        return [(opened + self.net_deposits - at) / opened for _, at in self.observed.equity]

    def check_entry(self, intent: Intent, now_ms: int) -> None:
        """Check an entry that is about to be sent against the day's loss."""
        limits, samples = self.observed.limits, self.observed.equity

        def wrong(what: str) -> None:
            loss = f"a loss of {lost + LOSS_SLACK:.3%} for {seen_ms} ms"
            detail = f"{intent.client_order_id}: {what} at {loss}"
            self.report(HardRule.DAY_LOSS, now_ms, intent.symbol, detail)

        since_ms = samples[0][0] if samples else now_ms
        seen_ms = now_ms - since_ms - self.observed.excused_ms("", since_ms, now_ms)
        lost = min(self._losses(self.equity), default=ZERO) - LOSS_SLACK
        if seen_ms < KNOWN_AFTER_MS:
            return  # the system may not have read the account since
        if lost > limits.daily_loss_max:
            wrong("entered")
        full_size = self.observed.state.severity < TradingState.REDUCED_SIZE.severity
        if full_size and lost > limits.daily_loss_max * limits.reduced_at:
            wrong("full size")
