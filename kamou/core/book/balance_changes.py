"""Changes of the wallet balance by fills and payments, and their worth at marks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import attrs

from kamou.core.model import ZERO, Figure


@attrs.frozen(kw_only=True)
class BalanceChange:
    """Change of the wallet balance by one fill or payment, at the venue's time."""

    at_ms: int
    # Money, signed: funding, a transfer, or of a fill the realized profit less the fee. A fill in
    # ``PositionBook.payments`` has the fee only; ``worth`` adds the rest.
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


def group_by_symbol(marks: Iterable[Figure]) -> dict[str, Decimal]:
    """Return marks by symbol, from figures that are named by symbol."""
    return {mark.name: Decimal(mark.value) for mark in marks}
