"""Checks of contract specifications, rounding to the tick, constants of funding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

from kamou.core.day import HOUR_MS
from kamou.core.model import ZERO, Instrument

POSITIVE = ("tick", "lot", "contract_size", "qty_min", "qty_max")
FEE_MAX = Decimal("0.05")  # of notional; 100 times the usual fee: more is an error of unit
FUNDING_PERIOD_MS = 8 * HOUR_MS  # of most venues, and the default of imported files
FUNDING_JITTER_MS = 60_000  # largest difference between a settlement's time and its hour
REBATE_MAX = Decimal("0.001")  # of notional; some venues pay makers


def find_instrument_faults(instrument: Instrument) -> tuple[str, ...]:
    """Return a text for each invalid figure of an instrument; empty for a valid one.

    If figures are not finite, the texts name only these.

    A lot of 0 or NaN would raise or give wrong sizes later, so callers check before any order.
    """
    figures = {
        name: value
        for name in (*POSITIVE, "notional_min", "maintenance_margin_rate", "taker_fee", "maker_fee")
        if isinstance(value := getattr(instrument, name), Decimal)
    }
    unreal = [f"{name} is {value}" for name, value in figures.items() if not value.is_finite()]
    return tuple(unreal) if unreal else tuple(_faults(instrument))


def _faults(it: Instrument) -> Iterator[str]:
    if not it.symbol:
        yield "it has no symbol"
    for name in POSITIVE:
        value = getattr(it, name)
        if value <= ZERO:
            yield f"{name} is {value}, not above 0"
    if it.qty_min > it.qty_max:
        yield f"qty_min {it.qty_min} is above qty_max {it.qty_max}"
    if it.lot > ZERO and it.qty_max < it.lot:
        yield f"qty_max {it.qty_max} is below one lot of {it.lot}"
    if it.notional_min < ZERO:
        yield f"notional_min is {it.notional_min}, below 0"
    if it.leverage_max < 1:
        yield f"leverage_max is {it.leverage_max}, below 1"
    if not ZERO < it.maintenance_margin_rate < 1:
        yield f"maintenance_margin_rate is {it.maintenance_margin_rate}, not between 0 and 1"
    if not ZERO <= it.taker_fee <= FEE_MAX:
        yield f"taker_fee is {it.taker_fee}, not between 0 and {FEE_MAX}"
    if not -REBATE_MAX <= it.maker_fee <= FEE_MAX:
        yield f"maker_fee is {it.maker_fee}, not between -{REBATE_MAX} and {FEE_MAX}"
    if it.funding_interval_h < 1:
        yield f"funding_interval_h is {it.funding_interval_h}, below 1"


def find_faults(symbols: Iterable[str], instruments: Iterable[Instrument]) -> tuple[str, ...]:
    """Return the faults of all instruments, each with its symbol.

    A symbol with no instrument or with several is a fault too.
    """
    found: list[str] = []
    named: dict[str, int] = {}
    for each in instruments:
        named[each.symbol] = named.get(each.symbol, 0) + 1
        found += [
            f"{each.symbol or '(unnamed)'}: {fault}" for fault in find_instrument_faults(each)
        ]
    found += [f"{symbol}: listed {n} times" for symbol, n in named.items() if n > 1]
    found += [f"{symbol}: has no instrument" for symbol in symbols if symbol not in named]
    return tuple(found)


def round_to_tick(price: Decimal, tick: Decimal, rounding: str) -> Decimal:
    """Return the price as a multiple of ``tick``.

    ``rounding`` is a constant of ``decimal``, such as ``ROUND_FLOOR``.
    """
    return (price / tick).to_integral_value(rounding=rounding) * tick
