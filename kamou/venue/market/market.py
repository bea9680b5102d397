"""What the embedded exchange trades against: a market it knows and its clients do not yet.

Two sources implement ``MarketSource``: recorded bars (``venue/market/recorded.py``) and the
seeded generator (``venue/market/generator.py``). The engine may look inside the current bar; the
port never serves a bar before it closed.
"""

from __future__ import annotations

from typing import Protocol, Self, runtime_checkable

from kamou.core.arrays import Floats
from kamou.core.market.bars import Bars, Series
from kamou.core.market.bars import Segment as Segment
from kamou.core.model import Instrument


class MarketSource(Protocol):
    symbols: tuple[str, ...]
    instruments: tuple[Instrument, ...]
    step_ms: int  # native bar
    first_ms: int  # open of the first bar
    last_ms: int  # close of the last bar; the generator's never ends

    def segment(self, from_ms: int, to_ms: int) -> Segment:
        """Path over the interval. Inside an unfinished recorded bar: flat at that bar's open."""
        ...

    def prices(self, at_ms: int) -> Floats:
        """Tradable mid per symbol at an instant: the path, or the containing bar's open."""
        ...

    def half_spread_bps(self) -> Floats:
        """Half the quoted spread per symbol, in basis points of mid."""
        ...

    def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        """Bars fully inside ``[since_ms, until_ms]``; ``period_ms`` a multiple of ``step_ms``."""
        ...

    def open_interest(self, since_ms: int, until_ms: int) -> Series:
        """Observations with ``since_ms < available_ms <= until_ms``, in contracts or base units."""
        ...

    def funding_rates(self, since_ms: int, until_ms: int) -> Series:
        """Settled rates per interval with ``since_ms < available_ms <= until_ms``."""
        ...

    def long_short_ratios(self, since_ms: int, until_ms: int) -> Series: ...


@runtime_checkable
class MadeInDays(Protocol):
    """A ``MarketSource`` whose UTC days are made when they are first asked for.

    To make one costs CPU time in proportion to symbols and bars. A ``twin`` makes days in another
    thread; the source itself is used by one thread only, which then adopts them.
    """

    def twin(self) -> Self:
        """Return the same market for use in one other thread."""
        ...

    def holds(self, from_ms: int, to_ms: int) -> bool:
        """Return True if bars and series of ``(from_ms, to_ms]`` are there without making any."""
        ...

    def make_day(self, at_ms: int) -> None:
        """Make everything that the UTC day of ``at_ms`` needs."""
        ...

    def adopt_day(self, at_ms: int, maker: Self) -> None:
        """Take over the day of ``at_ms`` that ``maker``, a twin, has made."""
        ...
