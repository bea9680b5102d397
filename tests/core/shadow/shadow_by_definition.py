"""Results of shadow trades by the definition, computed a second time from bars and rates.

It shares no code with the product and computes in fractions. ``strategies.md`` defines the fill:
a stop fills at the worse of its trigger and the first tradable price, the stop comes first, a limit
fills only if traded through. R is net PnL / (|planned entry - planned stop| x base units).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from math import isnan

import attrs

HOUR = 3_600_000
BASIS_POINT = Fraction(1, 10_000)


@attrs.frozen
class Bar:
    """A bar with its open time in ms; NaN without a price."""

    open_ms: int
    open: float
    high: float
    low: float
    close: float


@attrs.frozen(kw_only=True)
class Terms:
    """Plan and costs of a trade."""

    sign: int  # 1: long
    planned_entry: Fraction
    entry: Fraction
    stop: Fraction
    target: Fraction
    units: Fraction
    opened_ms: int
    limit_ms: int  # 0: none
    entry_fee: Fraction
    taker: Fraction
    maker: Fraction
    half_spread: Fraction
    slippage_bps: Fraction
    wide: float  # bars of more ATR than this are gaps
    depth: Fraction
    interval_h: int
    assumed_8h: Fraction


@attrs.frozen(kw_only=True)
class Exit:
    reason: str
    at_ms: int
    price: Fraction  # before the rounding to the tick
    maker: bool
    paid_hours: tuple[tuple[int, Fraction], ...]  # settlements with the mark


def exact(price: float) -> Fraction:
    """Return the decimal number that a price's text has; its float is not quite that."""
    return Fraction(repr(price))


def find_exit(terms: Terms, bars: Sequence[Bar], period: int) -> Exit | None:
    """Return how the trade ends in these bars, the first of which may be older than it."""
    hours: list[tuple[int, Fraction]] = []
    mark, mark_ms = terms.entry, terms.opened_ms
    for place, bar in enumerate(bars):
        end = bar.open_ms + period
        if end <= terms.opened_ms:
            continue
        known, whole = not isnan(bar.close), bar.open_ms >= terms.opened_ms
        if known:
            low, high = exact(bar.low), exact(bar.high)
            stopped = low <= terms.stop if terms.sign > 0 else high >= terms.stop
            if stopped:
                price = stop_price(terms, bars, place, whole=whole)
                return Exit(
                    reason="stop_loss",
                    at_ms=end,
                    price=as_taker(terms, price),
                    maker=False,
                    paid_hours=tuple(hours),
                )
            through = high > terms.target if terms.sign > 0 else low < terms.target
            if whole and through:
                return Exit(
                    reason="take_profit",
                    at_ms=end,
                    price=terms.target,
                    maker=True,
                    paid_hours=tuple(hours),
                )
            mark, mark_ms = exact(bar.close), end
        if end % HOUR == 0:
            hours.append((end, mark))
        over = terms.limit_ms and end >= terms.limit_ms
        if (known and over) or end - mark_ms >= 24 * HOUR:
            return Exit(
                reason="time_limit" if known and over else "delisting",
                at_ms=end,
                price=as_taker(terms, mark),
                maker=False,
                paid_hours=tuple(hours),
            )
    return None


def stop_price(terms: Terms, bars: Sequence[Bar], place: int, *, whole: bool) -> Fraction:
    bar = bars[place]
    candidates = [terms.stop]
    if whole:
        candidates.append(exact(bar.open))
    before = bars[max(0, place - 15) : place]
    if len(before) == 15 and not any(isnan(each.close) for each in before):
        ranges = [max(b.high, a.close) - min(b.low, a.close) for a, b in pairwise(before)]
        mean = sum(ranges) / 14
        if mean > 0 and (bar.high - bar.low) / mean > terms.wide:  # False for NaN
            extreme = exact(bar.low if terms.sign > 0 else bar.high)
            candidates.append(terms.stop + terms.depth * (extreme - terms.stop))
    return min(candidates) if terms.sign > 0 else max(candidates)


def as_taker(terms: Terms, price: Fraction) -> Fraction:
    paid = terms.half_spread + terms.slippage_bps * BASIS_POINT
    return price * (1 - terms.sign * paid)


def sum_funding(terms: Terms, ended: Exit, rates: Mapping[int, float]) -> Fraction:
    """Return the funding received, from the known rates and the assumed ones."""
    total = Fraction(0)
    for hour, mark in ended.paid_hours:
        if hour in rates:
            total -= terms.sign * terms.units * mark * Fraction(repr(rates[hour]))
        elif hour % (terms.interval_h * HOUR) == 0:
            total -= terms.units * mark * terms.assumed_8h * terms.interval_h / 8
    return total


def result_in_r(terms: Terms, ended: Exit, price: Fraction, funding: Fraction) -> Fraction:
    """Return R of an exit at ``price``, which is on the tick."""
    gross = terms.sign * (price - terms.entry) * terms.units
    fees = terms.entry_fee + price * terms.units * (terms.maker if ended.maker else terms.taker)
    return (gross - fees + funding) / (abs(terms.planned_entry - terms.stop) * terms.units)
