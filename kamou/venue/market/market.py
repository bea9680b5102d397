"""The protocols of the market sources that the embedded venue trades against.

Three classes implement ``MarketSource``: ``RecordedMarket`` (``venue/market/recorded.py``),
``GeneratedMarket`` (``venue/market/generator.py``), which is also ``MadeInDays``, and
``SimulatedMarket`` (``simulator/market.py``). The engine may read inside the current bar. The
exchange port never serves a bar before its close.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self, runtime_checkable

from kamou.core.arrays import Floats
from kamou.core.market.bars import Bars, Series
from kamou.core.market.bars import Segment as Segment
from kamou.core.market.flow import FlowWindows
from kamou.core.market.flow_stream import FlowUpdates
from kamou.core.model import Instrument


class MarketSource(Protocol):
    """The market of all symbols, readable from ``first_ms`` to ``last_ms``."""

    symbols: tuple[str, ...]
    instruments: tuple[Instrument, ...]
    step_ms: int  # length of a native bar
    first_ms: int  # open of the first bar
    last_ms: int  # close of the last bar; the generated market ends in the year 2100

    def segment(self, from_ms: int, to_ms: int) -> Segment:
        """Return the path of ``(from_ms, to_ms]``, one value per symbol; NaN: no market.

        An unfinished recorded bar is flat at its open.
        """
        ...

    def prices(self, at_ms: int) -> Floats:
        """Return the mids at an instant, ``[symbols]``; for a recorded bar its open.

        After the last recorded bar they are the last closes. A symbol without a market has NaN.
        """
        ...

    def half_spread_bps(self, at_ms: int) -> Floats:
        """Return half the quoted spread at an instant, basis points of mid, ``[symbols]``."""
        ...

    def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        """Return the complete bars inside ``[since_ms, until_ms]``.

        Raises:
            InvalidDataError: ``period_ms`` is not a multiple of ``step_ms``.
        """
        ...

    def open_interest(self, since_ms: int, until_ms: int) -> Series:
        """Return the open interest of ``(since_ms, until_ms]``, contracts or base units."""
        ...

    def funding_rates(self, since_ms: int, until_ms: int) -> Series:
        """Return the rates settled in ``(since_ms, until_ms]``, fractions per interval."""
        ...

    def long_short_ratios(self, since_ms: int, until_ms: int) -> Series:
        """Return the ratios of long to short accounts of ``(since_ms, until_ms]``."""
        ...

    def premium_index(self, since_ms: int, until_ms: int) -> Series:
        """Return the premium index of ``(since_ms, until_ms]``, as fractions."""
        ...

    def flow_windows(self, since_ms: int, until_ms: int) -> FlowWindows:
        """Return the order flow of the windows that ended in ``(since_ms, until_ms]``."""
        ...


class FlowWalk(Protocol):
    """A walk of quotes and market trades, which one thread reads forward."""

    def read(self, from_ms: int, to_ms: int) -> FlowUpdates:
        """Return the quotes and market trades of ``(from_ms, to_ms]``."""
        ...


@runtime_checkable
class WalkedSource(Protocol):
    """A ``MarketSource`` whose quotes and market trades can be walked."""

    def walk_flow(self, symbols: tuple[str, ...]) -> FlowWalk:
        """Return a walk of these symbols.

        Raises:
            ValueError: the market does not have one of the symbols.
        """
        ...


class ContractChange(Protocol):
    """A change of a contract specification that the venue lists from an instant on."""

    @property
    def at_ms(self) -> int:
        """The instant."""
        ...

    @property
    def symbol(self) -> str:
        """The symbol of the contract."""
        ...

    def apply_to(self, listed: Instrument) -> Instrument:
        """Return the listed contract specification as changed."""
        ...


@runtime_checkable
class ContractSource(Protocol):
    """A ``MarketSource`` whose contract specifications change at known times."""

    def contract_changes(self, since_ms: int, until_ms: int) -> Sequence[ContractChange]:
        """Return the changes of ``(since_ms, until_ms]`` by time.

        Those at time 0 make the specifications that count before the first change.
        """
        ...


@runtime_checkable
class MadeInDays(Protocol):
    """A ``MarketSource`` whose UTC days are made at their first read.

    A day costs CPU time in proportion to symbols and bars, so a ``twin`` makes days in another
    thread. Only one thread uses the source itself, and that thread adopts the twin's days.
    """

    def twin(self) -> Self:
        """Return the same market for use in one other thread."""
        ...

    def holds(self, from_ms: int, to_ms: int) -> bool:
        """Return True if the source has the days of ``(from_ms, to_ms]`` in memory."""
        ...

    def make_day(self, at_ms: int) -> None:
        """Make the data of the UTC day of ``at_ms``."""
        ...

    def adopt_day(self, at_ms: int, maker: Self) -> None:
        """Take over the day of ``at_ms`` that ``maker``, a twin, has made."""
        ...
