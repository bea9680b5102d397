"""Events of corrections by late fills and payments, and of transfers' valuations."""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.book.events import Event
from kamou.core.model import Figure


@attrs.frozen(kw_only=True)
class DayCorrected(Event):
    """Correction of a published day's equity at 00:00, by a late fill or payment.

    The newest correction of a day replaces the earlier ones. ``cause_id`` is the id of the fill or
    payment.
    """

    day: str  # as in ``DayOpened``
    number: int  # 1 for the first correction of this day
    before: Decimal  # money: equity at 00:00 as published
    equity: Decimal  # money: equity at 00:00 as known now

    @property
    def unique_key(self) -> str:
        return f"{self.day}#{self.number}"


@attrs.frozen(kw_only=True)
class TransferValued(Event):
    """Valuation of a transfer: the equity just before it.

    A period of the time-weighted return ends at the transfer. The equity leaves out every fill
    and payment that the venue stamps ``transfer_at_ms`` or later. Transfers of the same millisecond
    count as one. The newest valuation replaces the earlier ones. ``cause_id`` is the id of the
    transfer, or of the late fill or payment that changed the equity.
    """

    transfer_at_ms: int  # time of the transfer, by the venue's clock
    number: int  # 1 for the first valuation, then one more for each change
    equity: Decimal  # money
    marks: tuple[Figure, ...]  # of symbols open at the transfer or traded since
    marks_at_ms: int  # ``transfer_at_ms``, or the end of the bars whose closes are the marks
    rests_on: str  # source of ``marks``, see ``core/risk/midnight_equity.py``
    read_at_ms: int  # of the account read from which the equity was computed backwards

    @property
    def unique_key(self) -> str:
        return f"{self.transfer_at_ms}#{self.number}"


@attrs.frozen(kw_only=True)
class ResultCorrected(Event):
    """Correction of a published result by funding that the venue listed later.

    The newest correction of a result replaces the earlier ones. Money is in the account currency.
    """

    trade_id: str  # of the result, as in ``TradeClosed``
    number: int  # 1 for the first correction of this result
    added: Decimal  # funding since the result or the previous correction; positive is received
    funding: Decimal  # money, the corrected sum
    pnl_net: Decimal  # money, corrected
    r_multiple: Decimal | None  # corrected; None: a part of the trade had no plan

    @property
    def unique_key(self) -> str:
        return f"{self.trade_id}#{self.number}"
