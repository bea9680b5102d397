"""Formats of figures, times and codes on the pages; the minus sign is U+2212.

A figure or time that is None becomes a dash, except where a function says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal

from kamou.core import words as spell
from kamou.core.codes import CAUSES, Deny, StateReason
from kamou.core.feature_names import FEATURE_NAMES
from kamou.core.kinds import ExitReason
from kamou.core.words import PRICE_DIGITS

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"

Show = Callable[[float], str]
E_VALUE_SHOWN = 1_000_000  # a strategy is live from 120 on


def money(value: Decimal | float | None, *, signed: bool = False, places: int = 2) -> str:
    """Return an amount such as ``12,345.60``; with a plus sign if ``signed``."""
    if value is None:
        return DASH
    exact = Decimal(value).quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)
    return _sign(f"{abs(exact):,}", exact, signed=signed)


def percent(value: float | None, *, signed: bool = False, places: int = 2) -> str:
    """Return a fraction as ``1.25%``; with a plus sign if ``signed``."""
    if value is None:
        return DASH
    rounded = round(value * 100, places)
    return _sign(f"{abs(rounded):,.{places}f}%", rounded, signed=signed)


def number(value: float | None, *, signed: bool = False, places: int = 2) -> str:
    """Return a number such as ``1.25``; with a plus sign if ``signed``."""
    if value is None:
        return DASH
    rounded = round(value, places)
    return _sign(f"{abs(rounded):,.{places}f}", rounded, signed=signed)


def e_value(value: float) -> str:
    """Return an e-value with three decimals, or that it is above ``E_VALUE_SHOWN``."""
    return f"{value:,.3f}" if value <= E_VALUE_SHOWN else f"over {E_VALUE_SHOWN:,}"


def exact(value: Decimal | None) -> str:
    """Return a price or quantity with all its digits, without trailing zeros."""
    if value is None:
        return DASH
    text = f"{abs(value):,f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return _sign(text, value, signed=False)


def price(value: Decimal | None) -> str:
    """Return a price, which may be an average of fills, without trailing zeros.

    It is rounded to ``PRICE_DIGITS`` significant digits, but not before the decimal point.
    """
    if value is None or value == 0:
        return exact(value)
    places = PRICE_DIGITS - 1 - value.adjusted()
    return exact(value.quantize(Decimal(1).scaleb(-max(0, places)), rounding=ROUND_HALF_EVEN))


def feature(value: float) -> str:
    """Return a feature of a signal in six significant digits."""
    return _sign(f"{abs(value):.6g}", value, signed=False)


def moment(at_ms: int | None) -> str:
    """Return a time such as ``2025-10-10 21:00``, UTC."""
    return DASH if at_ms is None else f"{_utc(at_ms):%Y-%m-%d %H:%M}"


def moment_exact(at_ms: int | None) -> str:
    """Return a time such as ``2025-10-10 21:00:02.150``, UTC."""
    if at_ms is None:
        return DASH
    return f"{_utc(at_ms):%Y-%m-%d %H:%M:%S}.{at_ms % 1000:03d}"


def iso(at_ms: int) -> str:
    """Return a time such as ``2025-10-10T21:00:00Z``, for ``<time datetime=...>``."""
    return f"{_utc(at_ms):%Y-%m-%dT%H:%M:%SZ}"


def date(at_ms: int) -> str:
    """Return a date such as ``10 October 2025``, UTC."""
    at = _utc(at_ms)
    return f"{at.day} {at:%B %Y}"


def weekday(day: str) -> str:
    """Return the weekday of a day: ``Fri`` for ``2025-10-10``."""
    return f"{datetime.fromisoformat(day):%a}"


def day_name(day: str) -> str:
    """Return a day as on the pages: ``10 Oct 2025`` for ``2025-10-10``."""
    at = datetime.fromisoformat(day)
    return f"{at.day} {at:%b %Y}"


def month_name(month: str) -> str:
    """Return a month as on the pages: ``Oct 2025`` for ``2025-10``."""
    return f"{datetime.fromisoformat(f'{month}-01'):%b %Y}"


def day_ms(day: str) -> int:
    """Return the start (ms) of a UTC day such as ``2025-10-10``."""
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1000


def duration(span_ms: int | None) -> str:
    """Return a duration such as ``3 d 4 h``, ``12 min`` or ``2.5 s``.

    A duration of None has not ended: ``still``.
    """
    return "still" if span_ms is None else spell.format_duration(span_ms)


def feature_name(name: str) -> str:
    """Return the name of a strategy's feature as on the pages."""
    return FEATURE_NAMES.get(name, words(name))


def counted(n: int, noun: str) -> str:
    """Return a count with its noun: ``1 complete day``, ``2 complete days``."""
    return spell.count_words(n, noun)


def count(n: int) -> str:
    """Return a count such as ``1,297``."""
    return f"{n:,}"


def rests_on(own: int, found: int | None, noun: str) -> str:
    """Return the count of an interval with fewer observations than its figure.

    ``of 40 closed trades on complete days``; empty if both have the same count, or if there is no
    interval.
    """
    if found is None or found == own:
        return ""
    return f"of {found:,} {nouns(found, noun)} on complete days"


def contracts(quantity: Decimal) -> str:
    """Return a quantity such as ``1 contract`` or ``0.5 contracts``."""
    return f"{exact(quantity)} {nouns(quantity, 'contract')}"


def nouns(n: int | Decimal, noun: str) -> str:
    """Return ``noun``, in the plural unless the count is 1."""
    return noun if n == 1 else f"{noun}s"


def words(code: str) -> str:
    """Return a code in words: ``OI momentum`` for ``oi_momentum``."""
    return spell.strategy_name(code.lower())


def bound(code: str) -> str:
    """Return the limit that bound the size of an entry, in plain words."""
    return spell.BOUNDS.get(code, words(code))


def sentence(text: str) -> str:
    """Return the text with a capital letter at its beginning."""
    return text[:1].upper() + text[1:]


def state(code: str, *, holding: bool = True) -> str:
    """Return a trading state in plain words; ``holding``: True with an open position."""
    return spell.state_words(code, holding=holding)


EXITS = {
    ExitReason.STOP_LOSS: "stop-loss",
    ExitReason.TAKE_PROFIT: "take-profit",
    ExitReason.EXIT: "an exit order",
    ExitReason.EXTERNAL: "an external order",
}


def exit_of(reason: ExitReason, cause_: StateReason | None) -> str:
    """Return the end of a trade in words: its exit reason, or the cause of a flatten.

    ``cause_`` is None if no flatten closed the trade.
    """
    if cause_ is None:
        return f"ended by {EXITS.get(reason, words(reason))}"
    text = cause(cause_)
    return text if text.startswith("flattened") else f"flattened: {text}"


DISABLED_FOR = {
    Deny.RATE_ENTRIES_EXCEEDED: "entered more often in an hour than its limit allows",
    Deny.RATE_REENTRIES_EXCEEDED: "entered one symbol more often in a day than its limit allows",
}


def disabled_for(code: Deny) -> str:
    """Return the reason why a strategy was disabled, in plain words."""
    return DISABLED_FOR.get(code, words(code))


def cause(reason: StateReason) -> str:
    """Return the cause of a change of the trading state, in plain words."""
    return CAUSES[reason]


def _utc(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms // 1000, UTC)


def _sign(magnitude: str, value: Decimal | float, *, signed: bool) -> str:
    if value < 0:
        return MINUS + magnitude
    return f"+{magnitude}" if signed and value > 0 else magnitude
