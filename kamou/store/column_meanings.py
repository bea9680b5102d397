"""What the columns of a file mean, by their names.

Names are compared without case, blanks and separators (``openTime`` is ``open_time``). If several
columns have one meaning, the column is used whose name comes first in ``TIMES`` or in the other
table. Columns without a meaning here, such as ``quote_volume`` or ``close_time``, are ignored.

If a file has columns of several kinds, the first kind of ``Kind`` is used, unless the name of the
file or of a folder says another kind. Ratios of long to short accounts are read beside it, because
exchanges publish them in one file with open interest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum

import attrs

from kamou.core.market.symbols import is_symbol
from kamou.escaping import escape_text
from kamou.store.file_names import Role

VENUE_QUOTE = "USDT"  # appended to a coin to make its symbol
NAMES_CHARS_MAX = 200  # of a file's column names in an error


class Kind(StrEnum):
    """Kind of the rows of a file."""

    BARS = "bars"
    FUNDING = "funding"
    OPEN_INTEREST = "open interest"
    RATIOS = "long/short ratio"
    TOP_RATIOS = "top traders' long/short ratio"
    PREMIUM = "premium index"  # bars by their columns; only a name says it


RATIO_KINDS = (Kind.RATIOS, Kind.TOP_RATIOS)
# Their times say when a row became known; that of a bar is its open.
KINDS_OF_INSTANTS = (Kind.OPEN_INTEREST, *RATIO_KINDS)


TIMES = (
    *("ts", "open_time", "timestamp", "open_timestamp", "timestamp_ms", "open_time_ms", "time_ms"),
    *("ts_ms", "unix_timestamp", "unix", "unix_time", "epoch", "time", "start_time", "start"),
    *("candle_begin_time", "begin_time", "datetime", "date_time", "date", "t", "utc"),
    *("funding_time", "calc_time", "settle_time", "create_time"),
)
UNNAMED_TIMES = ("", "unnamed_0", "index", "index_level_0")  # as pandas writes its index
SYMBOL_HEADERS = (
    *("symbol", "pair", "ticker", "instrument", "instrument_id", "instrument_name", "inst_id"),
    *("market", "contract"),
)
COINS = ("coin",)
VENUES = ("venue", "exchange")
BINANCE_RATIO = "count_long_short_ratio"  # as only Binance's public metrics name it
NUMBERS: Mapping[Kind, Mapping[str, tuple[str, ...]]] = {
    Kind.BARS: {
        "open": ("open", "o", "open_price"),
        "high": ("high", "h", "high_price"),
        "low": ("low", "l", "low_price"),
        "close": ("close", "c", "close_price"),
        "volume": (  # the names of base units first: others may be contracts
            *("base_volume", "volume_base", "base_asset_volume", "vol_ccy"),
            *("volume", "v", "vol"),
        ),
    },
    Kind.FUNDING: {
        "funding_rate": ("funding_rate", "fundingrate", "last_funding_rate", "realized_rate")
    },
    Kind.OPEN_INTEREST: {
        "sum_open_interest": ("sum_open_interest", "open_interest", "openinterest", "oi")
    },
    # Ratios of accounts; those of positions or of taker volume are other figures.
    Kind.RATIOS: {
        "long_short_ratio": (BINANCE_RATIO, "global_account_ls", "global_long_short_ratio")
    },
    Kind.TOP_RATIOS: {
        "top_trader_ratio": (
            *("count_toptrader_long_short_ratio", "top_account_ls", "top_trader_long_short_ratio"),
        )
    },
}
DOLLARS = ("oi_usd", "sum_open_interest_value", "open_interest_value", "open_interest_usd")
# Of files without a header: bars as exchanges publish them, other values by their name's role.
ROW_OF_BAR = ("open_time", "open", "high", "low", "close", "volume")
BAR_CELLS_MAX = 12
CLOSE_TIME_FACTOR = 1.003  # of a time since 1970; 0.3 % of it are more than a month
ISO_DATE = re.compile(r"20\d{2}-\d{2}-\d{2}")
ROWS_OF_ROLE = {
    (Role.FUNDING, 2): ("ts", "funding_rate"),
    (Role.FUNDING, 3): ("calc_time", "funding_interval_hours", "last_funding_rate"),
    (Role.FUNDING, 6): ("ts", "funding_rate", "x2", "x3", "x4", "x5"),  # freqtrade's arrays
    (Role.OPEN_INTEREST, 2): ("ts", "open_interest"),
}
WIDE_SYMBOL = re.compile(r"^[A-Z0-9]{1,20}[-_/]?(USDT|USDC|USD|BUSD)(:[A-Z]+)?$")
KIND_OF_ROLE = {Role.FUNDING: Kind.FUNDING, Role.OPEN_INTEREST: Kind.OPEN_INTEREST}


@attrs.frozen(kw_only=True)
class Columns:
    """The columns of a file that are read, by their names in the file.

    ``numbers`` maps a meaning, such as ``close``, to the name of its column.
    """

    kind: Kind
    time: str
    numbers: Mapping[str, str]
    symbol: str | None = None
    suffix: str = ""  # appended to each symbol
    venue: str | None = None
    wide: tuple[str, ...] = ()  # columns that are symbols, of a file with one column for each
    beside: tuple[tuple[Kind, str], ...] = ()  # kinds of ratios in the file, with their columns

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the columns of texts: venue and symbol, if the file has them."""
        return tuple(each for each in (self.venue, self.symbol) if each is not None)

    @property
    def wanted(self) -> tuple[str, ...]:
        """Return the names of all columns to read."""
        beside = (column for _, column in self.beside)
        return (*self.texts, self.time, *self.numbers.values(), *self.wide, *beside)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Return the kinds of all columns that are read."""
        return (self.kind, *(kind for kind, _ in self.beside))


def find_columns(
    header: Sequence[str], role: Role | None = None, *, own_role: bool = False
) -> Columns | str:
    """Return the columns that a header and the role of a file mean.

    If they mean nothing that is imported, return the reason as a text.

    Args:
        header: the names of the columns.
        role: the role in the name of the file or of a folder; None: no role.
        own_role: True if the role stands in the name of the file itself.

    Raises:
        ValueError: two columns have one name; the text has the name.
    """
    found = _Header(header)
    if role is Role.PREMIUM:
        return _find_premium(found)
    if role is not None and role not in KIND_OF_ROLE:
        return f"{role}, by the name of the file or its folder"
    time = found.first(TIMES) or found.first(UNNAMED_TIMES)
    kinds = [each for each in NUMBERS if found.has_numbers(each)]
    wanted = KIND_OF_ROLE.get(role) if role is not None else None
    kind = wanted if wanted in kinds else next(iter(kinds), None)
    if time is None:
        return _describe_unknown(found, "no column of times such as ts, timestamp or open_time")
    if (
        wanted is Kind.FUNDING and kind is Kind.BARS and own_role
    ):  # freqtrade: the rate in the column open
        kind, numbers = Kind.FUNDING, {"funding_rate": found.need("open")}
    elif kind is not None:
        numbers = {each: found.need(*names) for each, names in NUMBERS[kind].items()}
    elif wanted is not None and (wide := _find_symbols(header, time)):
        return Columns(kind=wanted, time=time, numbers={}, wide=wide)
    else:
        return _describe_other(found)
    coin, symbol = found.first(COINS), found.first(SYMBOL_HEADERS)
    return Columns(
        kind=kind,
        time=time,
        numbers=numbers,
        symbol=coin if symbol is None else symbol,
        suffix="" if symbol is not None or coin is None else VENUE_QUOTE,
        venue=found.first(VENUES),
        beside=tuple(
            (each, found.need(*next(iter(NUMBERS[each].values()))))
            for each in RATIO_KINDS
            if each in kinds and each is not kind and kind in KINDS_OF_INSTANTS
        ),
    )


def _find_premium(found: _Header) -> Columns | str:
    """Return the columns of a file of bars of the premium index, or why it is none."""
    time, bars = found.first(TIMES) or found.first(UNNAMED_TIMES), NUMBERS[Kind.BARS]
    if time is None or not all(
        found.first(bars[each]) for each in ("open", "high", "low", "close")
    ):
        return _describe_unknown(found, f"{Kind.PREMIUM} by its name, but no bars by its columns")
    coin, symbol = found.first(COINS), found.first(SYMBOL_HEADERS)
    return Columns(
        kind=Kind.PREMIUM,
        time=time,
        numbers={"premium_index": found.need(*bars["close"])},
        symbol=coin if symbol is None else symbol,
        suffix="" if symbol is not None or coin is None else VENUE_QUOTE,
        venue=found.first(VENUES),
    )


def name_columns(row: Sequence[str], role: Role | None) -> list[str] | None:
    """Return names for the columns of a file without a header, by its first row.

    Return None if the rows can mean several things. A row of bars has six or seven values, or up to
    ``BAR_CELLS_MAX`` if the seventh is the close time, as in Binance's public files. Other files
    have the average price or the number of contracts before the volume.
    """
    count = len(row)
    if role in KIND_OF_ROLE:
        names = ROWS_OF_ROLE.get((role, count))
        return None if names is None else list(names)
    bars = len(ROW_OF_BAR)
    if not (bars <= count <= bars + 1 or (count <= BAR_CELLS_MAX and _closes(row[0], row[bars]))):
        return None
    return [*ROW_OF_BAR, *(f"column {at + 1}" for at in range(len(ROW_OF_BAR), count))]


def _closes(opened: str, value: str) -> bool:
    """Return True if a value is a time soon after ``opened``, in the same unit."""
    try:
        return float(opened) < float(value) <= CLOSE_TIME_FACTOR * float(opened)
    except ValueError:
        return ISO_DATE.match(value) is not None and opened < value


class _Header:
    """The names of a file's columns, found by their plain form."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._plain = [_plain(each) for each in names]

    def first(self, wanted: Sequence[str]) -> str | None:
        for each in wanted:
            count = self._plain.count(each)
            if count > 1 and each not in UNNAMED_TIMES:
                raise ValueError(f"two columns are named {each}; remove one")
            if count == 1:
                return self.names[self._plain.index(each)]
        return None

    def need(self, *wanted: str) -> str:
        found = self.first(wanted)
        assert found is not None, wanted
        return found

    def has_numbers(self, kind: Kind) -> bool:
        return all(self.first(names) is not None for names in NUMBERS[kind].values())


def _plain(name: str) -> str:
    """Return a name in lower case with one underscore between words."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def _find_symbols(header: Sequence[str], time: str) -> tuple[str, ...]:
    """Return all columns except those of times if they are symbols; else no column."""
    others = tuple(each for each in header if each != time and _plain(each) not in UNNAMED_TIMES)
    quoted = all(WIDE_SYMBOL.match(each) and is_symbol(each) for each in others)
    return others if quoted else ()


def _describe_other(found: _Header) -> str:
    """Return the reason why a file with a column of times has no known kind."""
    bars = NUMBERS[Kind.BARS]
    if all(found.first(bars[each]) is not None for each in ("open", "high", "low", "close")):
        return (
            "mark prices, or bars without a column volume; the embedded venue marks at the last "
            "price; add the column to bars"
        )
    if found.first(DOLLARS) is not None:
        return "open interest in dollars; convert it to base units"
    return _describe_unknown(found, "columns of no known kind")


def _describe_unknown(found: _Header, reason: str) -> str:
    shown = escape_text(", ".join(sorted(found.names)), chars_max=NAMES_CHARS_MAX)
    return (
        f"{reason}: {shown}; bars have open, high, low, close and volume, funding has "
        "funding_rate, open interest has sum_open_interest, ratios have count_long_short_ratio"
    )
