"""Row classes of the money, the record and its totals, and the equity curve.

``store/rows.py`` has the others. Money is ``Decimal``, and times are in ms UTC.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

import attrs

from kamou.core.day import Day
from kamou.core.kinds import IncomeKind
from kamou.core.model import ZERO


@attrs.frozen(kw_only=True)
class EquityPoint:
    """An equity snapshot.

    ``net_deposits`` are the net deposits since inception.
    """

    table: ClassVar[str] = "equity"
    primary_key: ClassVar[tuple[str, ...]] = ("at_ms",)
    at_ms: int
    equity: Decimal
    wallet_balance: Decimal
    unrealized_pnl: Decimal
    margin_used: Decimal
    open_risk: Decimal
    net_deposits: Decimal


@attrs.frozen(kw_only=True)
class IncomeRow:
    """A recorded ``core.model.Income``."""

    table: ClassVar[str] = "income"
    income_id: str
    kind: IncomeKind
    symbol: str
    amount: Decimal
    at_ms: int


@attrs.frozen(kw_only=True)
class Boundary:
    """A boundary between two rows of the record, with its equity.

    ``midnight`` is False only for a record that begins during a day. If ``exact`` is True,
    ``equity`` excludes all fills and payments of midnight and later. ``rebuilt`` is the source of
    the mark prices, as in ``DayRow``. ``corrections`` counts the corrections of ``equity``.
    """

    table: ClassVar[str] = "boundary"
    primary_key: ClassVar[tuple[str, ...]] = ("at_ms",)
    at_ms: int
    read_at_ms: int  # time of the event that made the boundary
    equity: Decimal
    midnight: bool
    exact: bool = False
    rebuilt: str = ""
    corrections: int = 0

    @property
    def first_ms(self) -> int:
        """Return the first time, in ms UTC, of fills and payments of the next row.

        The first equity of the record includes the fills and payments of its own millisecond.
        """
        return self.at_ms if self.midnight else self.at_ms + 1


@attrs.frozen(kw_only=True)
class DayRow:
    """A row of the record: a UTC day, a part of one, or several days.

    A row has several days if a midnight's equity is unknown. The first row and the open one may be
    a part of a day.

    ``return_`` is the time-weighted return from start to end, as a fraction; None if there was no
    equity to earn it on. ``trades`` and ``pnl`` count the trades that closed in the row. ``fees``,
    ``funding`` and ``net_deposits`` add up the venue's payments whose time is in the row.
    """

    table: ClassVar[str] = "day"
    primary_key: ClassVar[tuple[str, ...]] = ("day",)
    day: str  # YYYY-MM-DD, the first calendar day
    last_day: str  # the last calendar day; later than ``day`` if a midnight's equity is unknown
    start_ms: int
    end_ms: int
    complete: bool  # one whole day whose both midnights are known
    equity_start: Decimal
    equity_end: Decimal
    return_: float | None
    net_deposits: Decimal
    trades: int
    fees: Decimal
    funding: Decimal
    pnl: Decimal
    start_rebuilt: str = ""  # source of a rebuilt midnight's mark prices; empty: it was read
    end_rebuilt: str = ""  # the same for the midnight at the end
    corrections: int = 0  # late fills and payments that changed the equity of a midnight of the row

    @property
    def separable(self) -> bool:
        """Return True if the row is one calendar day or a part of one."""
        return self.day == self.last_day

    @property
    def change(self) -> Decimal:
        """Return the profit or loss in money, without deposits and withdrawals.

        It is the equity at the end less that at the start less net deposits.
        """
        return Day(
            equity_start=self.equity_start, equity=self.equity_end, net_deposits=self.net_deposits
        ).change


@attrs.frozen(kw_only=True)
class StrategyDay:
    """Sums over one strategy's trades that closed in one row of the record.

    ``loss`` is not negative. ``r`` is the sum over the ``with_r`` trades that have an R.
    """

    table: ClassVar[str] = "day_strategy"
    day: str  # that of the row
    strategy: str
    trades: int
    wins: int
    r: float
    with_r: int
    profit: float
    loss: float


@attrs.frozen(kw_only=True)
class MonthRow:
    """The sums over the rows that ended in one calendar month.

    ``return_`` compounds the returns of its rows; it is None if one of them has none.
    ``complete`` counts the complete days; ``gaining`` and ``losing`` count those of them with a
    positive and a negative return. ``unseparated`` counts the calendar days of the rows that are
    longer than a day.
    """

    table: ClassVar[str] = "month"
    primary_key: ClassVar[tuple[str, ...]] = ("month",)
    month: str  # YYYY-MM
    equity_end: Decimal
    return_: float | None
    change: Decimal
    net_deposits: Decimal
    trades: int
    fees: Decimal
    funding: Decimal
    complete: int
    gaining: int
    losing: int
    unseparated: int


@attrs.frozen(kw_only=True)
class StrategySums:
    """Exact totals of one strategy's closed trades.

    ``profit`` and ``loss`` are not negative. ``r`` is the sum over the ``with_r`` trades that have
    an R.
    """

    table: ClassVar[str] = "strategy_total"
    primary_key: ClassVar[tuple[str, ...]] = ("strategy",)
    strategy: str
    trades: int = 0
    wins: int = 0
    r: float = 0.0
    with_r: int = 0
    profit: Decimal = ZERO
    loss: Decimal = ZERO
    pnl_net: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    slippage: Decimal = ZERO


@attrs.frozen(kw_only=True)
class TradeCount:
    """Number of the closed trades of one strategy, symbol and outcome."""

    table: ClassVar[str] = "trade_count"
    primary_key: ClassVar[tuple[str, ...]] = ("strategy", "symbol", "won")
    strategy: str
    symbol: str
    won: bool
    trades: int


@attrs.frozen(kw_only=True)
class EquityMark:
    """The last, lowest and highest equity of one interval of the curve."""

    table: ClassVar[str] = "curve"
    at_ms: int
    equity: Decimal
    low: Decimal
    high: Decimal


@attrs.frozen(kw_only=True)
class CurveInterval(EquityMark):
    """One interval of the curve; ``at_ms`` is the time of its last equity."""

    primary_key: ClassVar[tuple[str, ...]] = ("start_ms",)
    start_ms: int


@attrs.frozen(kw_only=True)
class CurveWidth:
    """The width of all intervals of the curve, and the curve's span."""

    table: ClassVar[str] = "curve_width"
    width_ms: int
    first_ms: int
    last_ms: int  # rounded down to the start of an interval


class MarkKind(StrEnum):
    """The subject of a mark on the equity curve."""

    HALT = "halt"
    DOWN = "down"
    TRANSFER = "transfer"
    CONFIG = "config"


SPAN_MARKS = (MarkKind.HALT, MarkKind.DOWN)
MOMENT_MARKS = (MarkKind.TRANSFER, MarkKind.CONFIG)


@attrs.frozen(kw_only=True)
class CurveMark:
    """A mark on one interval of the equity curve.

    ``amount`` is the net amount of the transfers, 0 for the other kinds.
    """

    table: ClassVar[str] = "curve_mark"
    primary_key: ClassVar[tuple[str, ...]] = ("kind", "start_ms")
    kind: MarkKind
    start_ms: int
    amount: Decimal
