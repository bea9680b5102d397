"""What the read model's queries return: frozen rows, money as ``Decimal``, times in ms UTC."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeVar

import attrs

from kamou.core.model import Denial, Figure

R = TypeVar("R", bound=attrs.AttrsInstance)


@attrs.frozen(kw_only=True)
class EquityPoint:
    """One mark of the account. ``net_deposits`` are net deposits since inception."""

    at_ms: int
    equity: Decimal
    wallet_balance: Decimal
    unrealized_pnl: Decimal
    margin_used: Decimal
    open_risk: Decimal
    net_deposits: Decimal


@attrs.frozen(kw_only=True)
class DayRow:
    """The record between two reads of equity: one UTC day, or several that cannot be separated.

    ``return_`` is the time-weighted return from start to end as a fraction, None without equity
    to earn it on. ``trades`` and ``pnl`` are of the trades that closed in the row; ``fees``,
    ``funding`` and ``net_deposits`` are of the entries that the venue stamped in it.
    """

    day: str  # YYYY-MM-DD, the first calendar day
    last_day: str  # the last calendar day; later than ``day`` when a midnight was missed
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
    start_rebuilt: str = ""  # where a rebuilt midnight's marks are from; empty: it was read
    end_rebuilt: str = ""
    corrections: int = 0  # entries listed late that changed the equity of one of its midnights

    @property
    def separable(self) -> bool:
        """Return whether the row is one calendar day or a part of one."""
        return self.day == self.last_day

    @property
    def change(self) -> Decimal:
        """Return the profit or loss in money: end less start less net deposits."""
        return self.equity_end - self.equity_start - self.net_deposits


@attrs.frozen(kw_only=True)
class MonthRow:
    """The rows that ended in one calendar month, added up.

    ``return_`` multiplies the returns of its rows, None when one of them has none. ``complete``,
    ``gaining`` and ``losing`` count complete days; ``unseparated`` counts the calendar days of
    rows that cannot be separated.
    """

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
class OpenDay:
    """The day that the governor opened last; ``net_deposits`` are the net transfers since."""

    day: str
    opened_at_ms: int
    equity_start: Decimal
    net_deposits: Decimal


@attrs.frozen(kw_only=True)
class TradeRow:
    """A closed round trip: ``core.book.events.TradeClosed``. ``side`` is ``long`` or ``short``."""

    trade_id: str
    symbol: str
    strategy: str
    side: str
    quantity: Decimal
    contract_size: Decimal
    entry_price: Decimal
    exit_price: Decimal
    stop_price: Decimal
    planned_stop: Decimal | None
    opened_at_ms: int
    closed_at_ms: int
    pnl_gross: Decimal
    fees: Decimal
    funding: Decimal
    slippage: Decimal
    pnl_net: Decimal
    r_multiple: float | None
    exit_reason: str
    rowid: int

    @property
    def cursor(self) -> TradeCursor:
        """Return its place among the trades."""
        return TradeCursor(closed_at_ms=self.closed_at_ms, rowid=self.rowid)


@attrs.frozen(kw_only=True)
class TradeCursor:
    """A place among the closed trades in order of closing; ``rowid`` tells equal times apart."""

    closed_at_ms: int
    rowid: int


@attrs.frozen(kw_only=True)
class OpenTradeRow:
    """A trade with fills and no closing event, netted from its fills. ``quantity`` > 0."""

    trade_id: str
    symbol: str
    strategy: str
    side: str
    quantity: Decimal
    entry_price: Decimal
    stop_price: Decimal | None
    target_price: Decimal | None
    opened_at_ms: int


@attrs.frozen(kw_only=True)
class FillRow:
    key: str
    symbol: str
    client_order_id: str
    trade_id: str | None
    side: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    slippage: Decimal
    maker: bool
    reason: str
    at_ms: int
    source: str


@attrs.frozen(kw_only=True)
class OrderRow:
    client_order_id: str
    trade_id: str
    permit_id: str
    role: str
    attempt: int
    symbol: str
    side: str
    type: str
    quantity: Decimal
    limit_price: Decimal | None
    trigger_price: Decimal | None
    status: str
    filled: Decimal
    venue_order_id: str
    intended_at_ms: int
    accepted_at_ms: int | None
    closed_at_ms: int | None
    reason: str


@attrs.frozen(kw_only=True)
class PermitRow:
    permit_id: str
    signal_id: str
    symbol: str
    side: str
    quantity: Decimal
    entry_price: Decimal
    stop_price: Decimal
    target_price: Decimal
    risk: Decimal
    notional: Decimal
    bound_by: str
    granted_at_ms: int
    expires_at_ms: int
    consumed_at_ms: int | None
    client_order_id: str | None
    released_at_ms: int | None
    release_reason: str | None


@attrs.frozen(kw_only=True)
class SignalRow:
    """A survivor of T2 with the refiner's verdict. ``features`` are (name, value) pairs."""

    signal_id: str
    cycle_at_ms: int
    strategy: str
    symbol: str
    side: str
    score: float
    bar_opened_at_ms: int
    bar_closed_at_ms: int
    stop_distance: float
    target_distance: float
    close: float
    features: tuple[tuple[str, float], ...]
    proxy: str
    verdict: str
    size_multiplier: Decimal


@attrs.frozen(kw_only=True)
class CycleRow:
    """One cycle. The last four are None until the reconciler closed it."""

    cycle_at_ms: int
    bar_closed_at_ms: int
    symbols: int
    candidates: int
    abstained: int
    late_shards: int
    vetoed: int
    refused: int
    positions: int | None
    open_orders: int | None
    drift: int | None
    closed_at_ms: int | None


@attrs.frozen(kw_only=True)
class TradeChain:
    """Everything that led to a trade, back to its bar; of an adopted position less is known."""

    trade_id: str
    trade: TradeRow | None  # None while it is open
    fills: tuple[FillRow, ...]
    orders: tuple[OrderRow, ...]
    permit: PermitRow | None
    signal: SignalRow | None
    cycle: CycleRow | None


@attrs.frozen(kw_only=True)
class TierRefusal:
    """A no of one tier: ``T2`` (vetoes), ``T3`` (refiner) or ``governor``."""

    seq: int
    at_ms: int
    tier: str
    signal_id: str
    strategy: str
    symbol: str
    denials: tuple[Denial, ...]


@attrs.frozen(kw_only=True)
class StateSpan:
    """A trading state with its reason, from ``from_ms`` to ``until_ms`` (None: still)."""

    seq: int
    from_ms: int
    until_ms: int | None
    before: str
    state: str
    reason: str
    figures: tuple[Figure, ...]


@attrs.frozen(kw_only=True)
class RunRow:
    """One run_number. ``stopped_at_ms`` is None while it runs, and for ever after a crash.

    ``change_reason`` is None where the configuration is that of the run before.
    """

    run_number: int
    mode: str
    version: str
    config_digest: str
    started_at_ms: int
    stopped_at_ms: int | None
    stop_reason: str | None
    change_reason: str | None


@attrs.frozen(kw_only=True)
class Downtime:
    """More than two periods in which no cycle closed: from the end of one to the next one's."""

    from_ms: int
    until_ms: int
    cause: str  # stop | crash | sleep | skipped | unknown; see store/projected_downtime.py


@attrs.frozen(kw_only=True)
class Counts:
    events: int
    cycles: int
    candidates: int
    abstained: int
    vetoed: int
    refused: int
    permits: int
    orders: int
    fills: int
    trades: int


@attrs.frozen(kw_only=True)
class Latest:
    """Where things stand, by the last committed events. None: there was none yet."""

    head_seq: int
    at_ms: int | None  # of the newest event
    mode: str | None
    run: RunRow | None
    state: StateSpan | None  # None: never left ACTIVE
    equity: EquityPoint | None
    cycle: CycleRow | None
    day: OpenDay | None


def parse_figures(pairs: list[dict[str, str]]) -> tuple[Figure, ...]:
    return tuple(Figure(name=pair["name"], value=pair["value"]) for pair in pairs)


_CONVERT: Mapping[str, Callable[[Any], Any]] = {
    "Decimal": Decimal,
    "Decimal | None": lambda text: None if text is None else Decimal(text),
    "bool": bool,
    "tuple[tuple[str, float], ...]": lambda text: tuple(
        (name, float(value)) for name, value in json.loads(text)
    ),
    "tuple[Denial, ...]": lambda text: tuple(
        Denial(code=d["code"], figures=parse_figures(d["figures"])) for d in json.loads(text)
    ),
    "tuple[Figure, ...]": lambda text: parse_figures(json.loads(text)),
}
_COLUMN: Mapping[str, str] = {"return_": '"return"', "denials": "codes"}  # named so in SQL


def select(
    reader: sqlite3.Connection | sqlite3.Cursor, cls: type[R], table: str, tail: str, *given: Any
) -> tuple[R, ...]:
    """Rows of ``table`` as ``cls``, whose fields name the columns."""
    fields = attrs.fields(cls)
    columns = ", ".join(_COLUMN.get(f.name, f'"{f.name}"') for f in fields)
    found = reader.execute(f"SELECT {columns} FROM {table} {tail}", given).fetchall()
    names = [f.name for f in fields]
    convert = [(i, _CONVERT[f.type]) for i, f in enumerate(fields) if f.type in _CONVERT]
    made = []
    for row in found:
        values = list(row)
        for i, to in convert:
            values[i] = to(values[i])
        made.append(cls(**dict(zip(names, values, strict=True))))
    return tuple(made)


def select_one(
    reader: sqlite3.Connection | sqlite3.Cursor, cls: type[R], table: str, tail: str, *given: Any
) -> R | None:
    found = select(reader, cls, table, tail, *given)
    return found[0] if found else None
