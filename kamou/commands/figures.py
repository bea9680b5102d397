"""Text of figures, instants and durations for a terminal, rounded and in ASCII.

A figure that does not exist or is unknown is a dash.
"""

from __future__ import annotations

from decimal import Decimal

from kamou.commands.printing import format_time
from kamou.core.day import MINUTE_MS
from kamou.web import format as web

NONE = "-"  # text of a figure that does not exist or is unknown
HUGE, TINY = Decimal("1e12"), Decimal("1e-9")  # beyond these bounds: 1.234e+15


def money_text(value: str | Decimal | None, *, signed: bool = False) -> str:
    """Return an amount as ``12,345.60``, or ``+3.20`` if ``signed``; a dash for None.

    From ``HUGE`` on, the amount is in scientific notation.
    """
    if value is None or abs(Decimal(value)) >= HUGE:
        return _scientific(value)
    return ascii_text(web.money(Decimal(value), signed=signed))


def price_text(value: str | Decimal | None) -> str:
    """Return a price or quantity in significant digits; integer digits are kept.

    Below ``TINY`` and from ``HUGE`` on, it is in scientific notation. None gives a dash.
    """
    exact = None if value is None else Decimal(value)
    if exact is None or not (exact == 0 or TINY <= abs(exact) < HUGE):
        return _scientific(value)
    return ascii_text(web.price(exact))


def percent_text(
    value: str | Decimal | float | None, *, signed: bool = False, places: int = 2
) -> str:
    """Return a fraction as ``1.25%``; a dash for None."""
    if value is None:
        return NONE
    return ascii_text(web.percent(float(value), signed=signed, places=places))


def number_text(value: float, *, signed: bool = False, places: int = 2) -> str:
    """Return a ratio, rounded to ``places`` decimals."""
    return ascii_text(web.number(value, signed=signed, places=places))


def r_multiple_text(value: str | Decimal | None) -> str:
    """Return a multiple of R as ``+0.34 R``; a dash for None."""
    return NONE if value is None else f"{money_text(value, signed=True)} R"


def span_text(from_ms: int | None, until_ms: int | None) -> str:
    """Return the time between two instants, ms UTC, as ``2 h 14 min`` or ``12 s``.

    A dash if one is None; 0 s if the second is not later.
    """
    if from_ms is None or until_ms is None:
        return NONE
    lasting_ms = max(0, until_ms - from_ms)
    return f"{lasting_ms // 1000} s" if lasting_ms < MINUTE_MS else web.duration(lasting_ms)


def moment_text(at_ms: int | None) -> str:
    """Return an instant, ms UTC, as ``2025-10-10 21:00:02 UTC``; a dash for None."""
    return NONE if at_ms is None else f"{format_time(at_ms)} UTC"


def _scientific(value: str | Decimal | None) -> str:
    return NONE if value is None else f"{Decimal(value):.3e}"


def ascii_text(text: str) -> str:
    """Return a text of ``kamou.web.format`` with ASCII minus signs and dashes."""
    return text.replace(web.MINUS, "-").replace(web.DASH, NONE)
