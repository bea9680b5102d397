"""What becomes known after it was published, and corrects it."""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.book.events import Event
from kamou.core.model import Figure


@attrs.frozen(kw_only=True)
class DayCorrected(Event):
    """The venue listed an entry after the day had opened whose equity at 00:00 it was left in.

    The newest correction of a day holds. ``cause_id`` is the fill or the payment.
    """

    day: str  # as in ``DayOpened``
    number: int  # 1 for the first correction of this day
    before: Decimal  # equity at 00:00 as it was published, money
    equity: Decimal  # and as it is now known

    @property
    def unique_key(self) -> str:
        return f"{self.day}#{self.number}"


@attrs.frozen(kw_only=True)
class TransferValued(Event):
    """The equity just before a transfer, where the time-weighted return ends a stretch.

    It is without everything that the venue stamps ``transfer_at_ms`` or later. Transfers of one
    millisecond are one. The newest valuation holds; ``cause_id`` is a transfer, or the late entry.
    """

    transfer_at_ms: int  # when the money was moved, by the venue's stamp
    number: int  # 1 for the first valuation, more where a late entry changed it
    equity: Decimal
    marks: tuple[Figure, ...]  # by symbol: what was held then, or traded since
    marks_at_ms: (
        int  # of the marks: ``transfer_at_ms``, or when the bars ended of which they are closes
    )
    rests_on: str  # where ``marks`` are from, see ``core/risk/midnights.py``
    read_at_ms: int  # of the account: the valuation takes back what came until then

    @property
    def unique_key(self) -> str:
        return f"{self.transfer_at_ms}#{self.number}"


@attrs.frozen(kw_only=True)
class ResultCorrected(Event):
    """Funding that the venue listed after the result of the trade it belongs to was published.

    The newest correction of a result holds; money is in the account currency.
    """

    trade_id: str  # of the result, as in ``TradeClosed``
    number: int  # 1 for the first correction of this result
    added: Decimal  # funding since the result or the correction before; positive is received
    funding: Decimal
    pnl_net: Decimal
    r_multiple: Decimal | None

    @property
    def unique_key(self) -> str:
        return f"{self.trade_id}#{self.number}"
