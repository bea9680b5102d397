"""Exposure and equity of a position book at the marks of quotes."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from kamou.core.book.position_book import PositionBook
from kamou.core.model import Quote, Side
from kamou.core.risk.equity import CurrentEquity, current_equity
from kamou.core.risk.exposure import Exposure, compute_exposure, compute_headroom, is_major
from kamou.core.risk.limits import RiskLimits, TradingParameters
from kamou.core.risk.sizing import Headroom


@attrs.frozen(kw_only=True, eq=False)
class Valuation:
    """A position book with its exposure and equity at the marks of ``quotes``.

    It is not used after the book has changed.
    """

    book: PositionBook
    quotes: Mapping[str, Quote]  # by symbol
    exposure: Exposure
    now: CurrentEquity
    limits: RiskLimits
    at_ms: int
    # By side and whether the symbol is a major. A copy with other quotes shares it.
    _headrooms: dict[tuple[Side, bool], Headroom] = attrs.field(factory=dict)

    def headroom(self, symbol: str, side: Side) -> Headroom:
        """Return the headroom of the limits for one more trade, as ``compute_headroom``.

        It is computed once for all altcoins of a side, and once for all majors.
        """
        key = side, is_major(self.book.instruments.get(symbol))
        found = self._headrooms.get(key)
        if found is None:
            found = self._headrooms[key] = compute_headroom(
                self.book, self.exposure, self.now, symbol=symbol, side=side, limits=self.limits
            )
        return found


def value_book(
    book: PositionBook,
    quotes: Mapping[str, Quote],
    *,
    parameters: TradingParameters,
    now_ms: int,
) -> Valuation:
    """Return the valuation of the book as of ``now_ms``.

    Args:
        quotes: quotes by symbol. The average entry price replaces a missing or unsound quote of a
            position.
    """
    marks = {symbol: quote.mark for symbol, quote in quotes.items() if quote.sound}
    return Valuation(
        book=book,
        quotes=quotes,
        exposure=compute_exposure(book, marks=marks, parameters=parameters, now_ms=now_ms),
        now=current_equity(book, None, quotes, costs=parameters.costs, now_ms=now_ms),
        limits=parameters.limits,
        at_ms=now_ms,
    )
