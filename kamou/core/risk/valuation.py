"""Exposure and equity of a position book at the marks of quotes."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from kamou.core.book.position_book import PositionBook
from kamou.core.model import Quote
from kamou.core.risk.equity import CurrentEquity, current_equity
from kamou.core.risk.exposure import Exposure, compute_exposure
from kamou.core.risk.limits import TradingParameters


@attrs.frozen(kw_only=True, eq=False)
class Valuation:
    """A position book with its exposure and equity at the marks of ``quotes``."""

    book: PositionBook
    quotes: Mapping[str, Quote]  # by symbol
    exposure: Exposure
    now: CurrentEquity
    at_ms: int


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
        at_ms=now_ms,
    )
