"""Net deposits, and the equity just before each deposit or withdrawal."""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.book.balance_changes import BalanceChange, group_by_symbol
from kamou.core.book.late_events import TransferValued
from kamou.core.book.retention import TRANSFERS_KEPT, forget_oldest
from kamou.core.model import ZERO, Income


@attrs.frozen(kw_only=True)
class ValuedTransfer:
    """A transfer with the equity just before it.

    A fill or payment that the venue lists late may still change that equity.
    """

    event: TransferValued  # the newest one
    equity: Decimal  # money, as known now
    marks: dict[str, Decimal]  # mark prices of the event, by symbol
    cause: str = ""  # id of the newest fill or payment that changed it


@attrs.define(kw_only=True)
class BookTransfers:
    """Net deposits, transfers that wait for a valuation, and the newest valued ones."""

    net_deposits: Decimal = ZERO  # since inception
    unvalued: dict[int, str] = attrs.field(factory=dict)  # income id of one, by their time
    valued: dict[int, ValuedTransfer] = attrs.field(factory=dict)  # the newest, by their time

    def await_value(self, transfer: Income) -> None:
        """Record that a transfer waits for a valuation.

        Transfers of one millisecond share a valuation.
        """
        if transfer.at_ms not in self.valued:
            self.unvalued[transfer.at_ms] = transfer.income_id
            forget_oldest(self.unvalued, TRANSFERS_KEPT)

    def forget_unvalued(self, since_ms: int) -> None:
        """Drop waiting transfers before ``since_ms``; they stay without a valuation."""
        self.unvalued = {at: of for at, of in self.unvalued.items() if at >= since_ms}

    def count(self, key: str, paid: BalanceChange) -> None:
        """Correct the equity before a transfer by a fill or payment after it.

        The fill or payment is subtracted from that equity if its time lies between the transfer and
        the account read from which the transfer was valued.

        Args:
            key: fill key or income id.
        """
        for at_ms, valued in self.valued.items():
            if at_ms <= paid.at_ms <= valued.event.read_at_ms:
                equity = valued.equity - paid.worth(valued.marks)
                self.valued[at_ms] = attrs.evolve(valued, equity=equity, cause=key)

    def record_value(self, event: TransferValued) -> None:
        """Keep the valuation of a transfer, which then waits no longer."""
        self.unvalued.pop(event.transfer_at_ms, None)
        self.valued[event.transfer_at_ms] = ValuedTransfer(
            event=event, equity=event.equity, marks=group_by_symbol(event.marks)
        )
        forget_oldest(self.valued, TRANSFERS_KEPT)

    def pending_valuations(self, at_ms: int) -> tuple[TransferValued, ...]:
        """Return a new valuation of each transfer that a late fill or payment changed."""
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
