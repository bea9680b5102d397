"""The market sources that the embedded exchange trades against.

Two sources implement ``MarketSource``: recorded bars (``venue/market/recorded.py``) and the
seeded generator (``venue/market/generator.py``). The engine may read inside the current bar; the
port never serves a bar before its close.
"""

from __future__ import annotations

from typing import Protocol, Self, runtime_checkable

from kamou.core.arrays import Floats
from kamou.core.market.bars import Bars, Series
from kamou.core.market.bars import Segment as Segment
from kamou.core.model import Instrument


class MarketSource(Protocol):
    """The market of all symbols, readable at any time between ``first_ms`` and ``last_ms``."""

    symbols: tuple[str, ...]
    instruments: tuple[Instrument, ...]
    step_ms: int  # native bar
    first_ms: int  # open of the first bar
    last_ms: int  # close of the last bar; the generator's never ends

    def segment(self, from_ms: int, to_ms: int) -> Segment:
        """Return the path of the interval; an unfinished recorded bar is flat at its open."""
        ...

    def prices(self, at_ms: int) -> Floats:
        """Return the mids at an instant, ``[symbols]``; of a recorded bar its open."""
        ...

    def half_spread_bps(self) -> Floats:
        """Return half the quoted spread, ``[symbols]``, in basis points of mid."""
        ...

    def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        """Return the bars inside ``[since_ms, until_ms]``; periods are multiples of ``step_ms``."""
        ...

    def open_interest(self, since_ms: int, until_ms: int) -> Series:
        """Return observations of ``(since_ms, until_ms]``, in contracts or base units."""
        ...

    def funding_rates(self, since_ms: int, until_ms: int) -> Series:
        """Return the rates settled in ``(since_ms, until_ms]``, fractions per interval."""
        ...

    def long_short_ratios(self, since_ms: int, until_ms: int) -> Series: ...


@runtime_checkable
class MadeInDays(Protocol):
    """A ``MarketSource`` whose UTC days are made at their first read.

    A day costs CPU time in proportion to symbols and bars. A ``twin`` makes days in another
    thread; one thread only uses the source itself and adopts the days.
    """

    def twin(self) -> Self:
        """Return the same market for use in one other thread."""
        ...

    def holds(self, from_ms: int, to_ms: int) -> bool:
        """Return True if bars and series of ``(from_ms, to_ms]`` need no new day."""
        ...

    def make_day(self, at_ms: int) -> None:
        """Make the data of the UTC day of ``at_ms``."""
        ...

    def adopt_day(self, at_ms: int, maker: Self) -> None:
        """Adopt the day of ``at_ms`` that ``maker``, a twin, has made."""
        ...
