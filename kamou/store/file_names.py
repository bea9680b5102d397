"""Facts in the names of a file and its folders: symbol, period, dates and role.

Known forms of names:

| from | example |
|---|---|
| one file per symbol | ``BTCUSDT.csv``, ``BTC-USDT.csv``, ``btcusdt_funding.csv`` |
| public archives | ``BTCUSDT-1h-2025-01.zip``, ``BTCUSDT-fundingRate-2025-01.zip`` |
| freqtrade | ``BTC_USDT_USDT-1h-futures.feather``, ``BTC_USDT_USDT-8h-funding_rate.feather`` |

A folder may say the role (``funding``), the period (``oi_4h``), the symbol (``BTCUSDT``), the
exchange (``binance``), or that its files are of perpetuals (``um``). A folder with several periods
in its name, such as ``8h_then_1h``, says none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeVar

import attrs

from kamou.core.day import DAY_MS, HOUR_MS, MINUTE_MS
from kamou.core.market.symbols import is_symbol
from kamou.store.foreign_files import SourceFile

FILE_SUFFIXES = re.compile(
    r"\.(csv|txt|json|parquet|feather|zip|gz)(?=\.|$)", re.IGNORECASE
)  # of formats and packings, also several
NAME_SEPARATOR = re.compile(r"[-_. ]+")
QUOTE_NAMES = ("USDT", "USDC", "BUSD", "FDUSD", "TUSD", "USD", "EUR", "BTC", "ETH")
STABLE_QUOTE_NAMES = QUOTE_NAMES[:7]  # of names without a separator: ETHBTC stays a name of its own
PERIOD_TEXT = re.compile(r"^(\d{1,3})(s|sec|m|min|h|hr|hour|d|day|w)$")
UNIT_MS = {
    "s": 1_000,
    "sec": 1_000,
    "m": MINUTE_MS,
    "min": MINUTE_MS,
    "h": HOUR_MS,
    "hr": HOUR_MS,
    "hour": HOUR_MS,
    "d": DAY_MS,
    "day": DAY_MS,
    "w": 7 * DAY_MS,
}
DATES = re.compile(r"(?<!\d)(20[0-3]\d)-?(0[1-9]|1[0-2])(?:-?([0-2]\d|3[01]))?(?!\d)")
BARS_WORD = re.compile(r"(k-?lines?|can(dle|dles|dlesticks?))", re.IGNORECASE)
NAME_OF_PREMIUM = "premiumindex"  # without separators
NAME_OF_PRICES = re.compile(r"(mark|index)price")
FOLDER_OF_PREMIUM = r"premiumindex(klines|\d+[mhd])?"
FOLDER_OF_PRICES = r"(mark|index|premium)(price|prices)?(klines|\d+[mhd])?"
EXCHANGE_NAMES = frozenset(
    (
        *("binance", "binanceus", "bybit", "okx", "okex", "kucoin", "kucoinfutures", "bitget"),
        *("gate", "gateio", "mexc", "htx", "huobi", "kraken", "krakenfutures", "deribit"),
        *("hyperliquid", "bitmex", "bingx", "coinbase", "dydx", "phemex", "lighter", "aster"),
    )
)
COINS_OF_EXCHANGES = frozenset(("aster", "dydx", "htx"))  # a coin has the exchange's name
PAIR = re.compile(
    rf"(?P<base>[A-Za-z0-9]{{1,20}})[-_/](?P<quote>{'|'.join(QUOTE_NAMES)})"
    rf"(?:[-_:](?P<settle>{'|'.join(QUOTE_NAMES)}))?(?=[-_. :]|$)",
    re.IGNORECASE,
)
WORD = re.compile(r"[^-_. ]+")
EXPIRY = re.compile(
    r"[-_:](\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"
    r"|\d{1,2}(JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)\d{2})(?=[-_. ]|$)",
    re.IGNORECASE,
)  # directly after a symbol; 202501 is a month, because no month is 25
YEAR_DIGITS = 4
PERPETUALS = frozenset(
    ("futures", "future", "perp", "perps", "perpetual", "swap", "linear", "um", "usdm")
)
WORDS = frozenset(
    (
        *(*EXCHANGE_NAMES, *PERPETUALS, "spot", "data", "hist", "history", "historical", "metrics"),
        *("mark", "index", "premium", "premiumindex", "price", "prices", "trade", "trades"),
        *("funding", "fundingrate", "fundingrates", "fundinghistory", "rate", "rates"),
        *("open", "interest", "openinterest", "oi", "ohlc", "ohlcv", "bar", "bars"),
    )
)
"""Words of names that are no symbol."""
Fact = TypeVar("Fact")


class Role(StrEnum):
    """The content of a file by its name or a folder's name."""

    FUNDING = "funding"
    OPEN_INTEREST = "open interest"
    PREMIUM = "premium index"
    OTHER_PRICES = "mark, index or premium prices"
    TRADES = "market trades"
    BOOKS = "quotes or order books"
    LIQUIDATIONS = "liquidations"


@attrs.frozen(kw_only=True)
class NameFacts:
    """Facts in the names of a file and its folders; None: not in the names."""

    symbol: str | None
    period_ms: int | None
    role: Role | None
    own_role: bool  # the role stands in the file's name, not in that of a folder
    exchange: str | None
    expiry: str | None  # of a delivery contract, such as 250328
    perpetual: bool  # a name of freqtrade's futures, or a word such as PERP
    from_ms: int | None  # the dates in the name, as [from_ms, until_ms)
    until_ms: int | None


def read_names_of(file: SourceFile) -> NameFacts:
    """Return the facts in the names of a file and its folders.

    A symbol, period, role or exchange in the file's name is used before that of a folder, and a
    nearer folder before the others. Dates and expiry are read from the file's name only.
    """
    stem = FILE_SUFFIXES.sub("", file.path.name)
    rest = _remove_pair(stem)
    from_ms, until_ms = _find_dates(stem)
    folders = tuple(reversed(file.folders))
    return NameFacts(
        symbol=_find_symbol(stem) or _first(_find_quoted_symbol(each) for each in folders),
        period_ms=find_period(rest) or _first(_find_folder_period(each) for each in folders),
        role=_find_role(rest) or _first(_find_folder_role(each) for each in folders),
        own_role=_find_role(rest) is not None,
        exchange=_first(_find_exchange(_remove_pair(each)) for each in (stem, *folders)),
        expiry=_find_expiry(stem),
        perpetual=_is_perpetual(stem) or any(map(_is_perpetual, folders)),
        from_ms=from_ms,
        until_ms=until_ms,
    )


def parse_period(text: str) -> int | None:
    """Return the period of a text such as ``15m`` or ``1H`` in ms.

    Return None if the text is no period; ``1M``, a month, is none.
    """
    found = PERIOD_TEXT.match(text.lower() if not text.endswith("M") else text)
    return int(found[1]) * UNIT_MS[found[2]] or None if found else None


def find_period(name: str) -> int | None:
    """Return the first period in a name such as ``BTCUSDT-1h-2025-01``, in ms.

    Return None if the name has no period.
    """
    return _first(parse_period(each) for each in NAME_SEPARATOR.split(name))


def _find_folder_period(name: str) -> int | None:
    """Return the period in a folder's name in ms; None if it has none or several."""
    periods = {parse_period(each) for each in NAME_SEPARATOR.split(name)} - {None}
    return periods.pop() if len(periods) == 1 else None


def plain_symbol(symbol: str) -> str:
    """Return a symbol in its plain form: ``BTCUSDT`` for ``BTC/USDT:USDT``."""
    pair, _, settle = symbol.upper().partition(":")
    plain = re.sub(r"[^A-Z0-9]", "", pair)
    return plain if not settle or plain.endswith(settle) else f"{plain}:{settle}"


def _first(found: Iterable[Fact | None]) -> Fact | None:
    return next((each for each in found if each is not None), None)


def _find_symbol(stem: str) -> str | None:
    """Return the symbol in a name; None if there is none, or more than one.

    The symbol is a pair, else the only word that ends with a known quote, else the only word
    without another meaning, if that is in capitals.
    """
    if (pair := _find_pair(stem)) is not None:
        return _pair_symbol(pair)
    words = [
        each
        for each in NAME_SEPARATOR.split(DATES.sub("", stem))
        if each and not _is_common(each) and parse_period(each) is None and not each.isdigit()
    ]
    quoted = [each for each in map(_find_quoted_symbol, words) if each is not None]
    if len(quoted) == 1 or len(words) != 1:
        return quoted[0] if len(quoted) == 1 else None
    name = words[0]
    usable = name.isupper() and len(name) > 1 and name not in STABLE_QUOTE_NAMES
    return name if usable and is_symbol(name) else None


def _is_common(word: str) -> bool:
    """Return True for a word of names that is no symbol."""
    return word.lower() in WORDS or BARS_WORD.fullmatch(word) is not None


def _find_pair(stem: str) -> re.Match[str] | None:
    """Return the pair that a name begins with, after words such as ``candles_``."""
    for word in WORD.finditer(stem):
        pair = PAIR.match(stem, word.start())
        if pair is not None and _is_pair(pair):
            return pair
        text = word[0]
        if not (_is_common(text) or parse_period(text) is not None or text.isdigit()):
            return None
    return None


def _is_pair(found: re.Match[str]) -> bool:
    """Return True if base, quote and settlement fit, and the base can be a coin."""
    base, quote = found["base"].upper(), found["quote"].upper()
    settle = (found["settle"] or quote).upper()
    stable = quote in STABLE_QUOTE_NAMES
    both_stable = stable and settle in STABLE_QUOTE_NAMES
    if base == quote or not (settle in (base, quote) or both_stable):
        return False
    if parse_period(base) is not None or (base.isdigit() and len(base) >= YEAR_DIGITS):
        return False
    if base.lower() in EXCHANGE_NAMES:
        return stable and base.lower() in COINS_OF_EXCHANGES
    # PERP, OPEN and DATA are coins too; the settlement says that this is a pair.
    return not _is_common(base) or (stable and found["settle"] is not None)


def _find_expiry(stem: str) -> str | None:
    """Return the expiry of a delivery contract, directly after the symbol in a name."""
    pair, symbol = _find_pair(stem), _find_symbol(stem)
    if symbol is None:
        return None
    end = stem.upper().find(symbol) + len(symbol) if pair is None else pair.end()
    found = EXPIRY.match(stem, end)
    return None if found is None else found[1]


def _pair_symbol(pair: re.Match[str]) -> str:
    base, quote = pair["base"].upper(), pair["quote"].upper()
    settle = (pair["settle"] or quote).upper()
    return f"{base}{quote}" if settle == quote else f"{base}{quote}:{settle}"


def _remove_pair(name: str) -> str:
    """Return a name without its pair, whose coin may be a word: ``OPEN_USDT``."""
    pair = _find_pair(name)
    return name if pair is None else f"{name[: pair.start()]}{name[pair.end() :]}"


def _find_quoted_symbol(name: str) -> str | None:
    """Return a name such as ``BTCUSDT`` in capitals; None: no known quote."""
    upper = name.upper()
    quoted = any(upper.endswith(each) and len(upper) > len(each) for each in STABLE_QUOTE_NAMES)
    usable = quoted and upper not in STABLE_QUOTE_NAMES and name.isalnum()
    return upper if usable and is_symbol(upper) else None


def _find_role(name: str) -> Role | None:
    words = [each.lower() for each in NAME_SEPARATOR.split(name)]
    joined = "".join(words)
    if NAME_OF_PREMIUM in joined:
        return Role.PREMIUM
    prices = ("mark", "index", "premium")
    if any(each in prices for each in words) or NAME_OF_PRICES.search(joined):
        return Role.OTHER_PRICES
    if "trades" in words or "aggtrades" in words:
        return Role.TRADES
    if "bookticker" in words or "bookdepth" in words:
        return Role.BOOKS
    if "liquidationsnapshot" in words:
        return Role.LIQUIDATIONS
    if any(each.startswith("funding") for each in words):
        return Role.FUNDING
    is_interest = "openinterest" in joined or "oi" in words or "metrics" in words
    return Role.OPEN_INTEREST if is_interest else None


def _find_folder_role(name: str) -> Role | None:
    """Return the role in a folder's name, or None.

    The role is ``OTHER_PRICES`` only if the whole name means such prices, and ``PREMIUM`` only if
    the whole name or one of its words means that. Roles of trades, books and liquidations in a
    folder's name are ignored.
    """
    role = _find_role(name)
    if role in (Role.TRADES, Role.BOOKS, Role.LIQUIDATIONS):
        return None
    if role is Role.PREMIUM:
        words = (_plain_name(name), *NAME_SEPARATOR.split(name.lower()))
        return role if any(re.fullmatch(FOLDER_OF_PREMIUM, each) for each in words) else None
    if role is not Role.OTHER_PRICES or re.fullmatch(FOLDER_OF_PRICES, _plain_name(name)):
        return role
    return None


def _plain_name(name: str) -> str:
    return NAME_SEPARATOR.sub("", name).lower()


def _is_perpetual(name: str) -> bool:
    pair = _find_pair(name)
    words = {each.lower() for each in NAME_SEPARATOR.split(_remove_pair(name))}
    return (pair is not None and pair["settle"] is not None) or bool(words & PERPETUALS)


def _find_exchange(name: str) -> str | None:
    return _first(
        each.lower() if each.lower() in EXCHANGE_NAMES else None
        for each in NAME_SEPARATOR.split(name)
    )


def _find_dates(stem: str) -> tuple[int | None, int | None]:
    """Return the dates in a name as ``[from, until)`` in ms UTC; None if it has none."""
    found = DATES.findall(stem)
    if not found:
        return None, None
    spans = [_span(int(year), int(month), int(day or 0)) for year, month, day in found]
    known = [each for each in spans if each is not None]
    if not known:
        return None, None
    return min(each[0] for each in known), max(each[1] for each in known)


def _span(year: int, month: int, day: int) -> tuple[int, int] | None:
    try:
        first = datetime(year, month, day or 1, tzinfo=UTC)
    except ValueError:  # 31 February
        return None
    after = first + timedelta(days=1 if day else 32)
    if not day:
        after = after.replace(day=1)
    return round(first.timestamp() * 1000), round(after.timestamp() * 1000)
