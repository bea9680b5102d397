"""Changes of the wallet balance by fills and payments, and of the equity at marks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import attrs

from kamou.core.model import ZERO, Figure


@attrs.frozen(kw_only=True)
class BalanceChange:
    """Change of the wallet balance by one fill or payment, at the venue's time."""

    at_ms: int
    # Money, signed: funding, insurance or a transfer; of a fill, the realized PnL less the fee. A
    # fill in ``PositionBook.payments`` has only the fee here, and ``worth`` adds its gain.
    amount: Decimal
    transfer: bool = False
    symbol: str = ""  # of a fill
    units: Decimal = ZERO  # base units that the fill bought; negative: it sold them
    price: Decimal = ZERO  # of the fill
    contracts: Decimal = ZERO  # signed, instead of ``units`` if no known trade has the fill

    def worth(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Return the change of the equity, money, with positions valued at ``marks``.

        A fill that bought units below their mark gained the difference. The result is ``amount``
        alone for a payment, for a fill without a mark of its symbol and for one without ``units``.

        Args:
            marks: mark prices, by symbol.
        """
        mark = marks.get(self.symbol)
        return self.amount if mark is None else self.amount + self.units * (mark - self.price)


def group_by_symbol(marks: Iterable[Figure]) -> dict[str, Decimal]:
    """Return mark prices by symbol, from figures whose names are symbols."""
    return {mark.name: Decimal(mark.value) for mark in marks}
