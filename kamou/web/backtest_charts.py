"""Geometry of the charts of a backtest's page, in the site's frames.

The equity curve is that of the results page. The page adds the drawdown over time, the distribution
of R, the steps from gross to net, and the shades of the months.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from itertools import groupby

import attrs

from kamou.core.model import HALT_STATES, TradingState
from kamou.core.record.backtest_document import (
    CurvePoint,
    HaltReport,
    MonthReport,
    RBinReport,
    Waterfall,
)
from kamou.store.public_queries import Curve
from kamou.store.record_rows import EquityMark, MarkKind
from kamou.web import format as fmt
from kamou.web.chart import (
    Bar,
    BarChart,
    BarKind,
    CurveChart,
    Scale,
    Span,
    Tick,
    curve_charts,
)
from kamou.web.chart_frames import BAR_FRAMES, Frame
from kamou.web.figure_texts import COSTS, WATERFALL_TITLES
from kamou.web.ticks import Label, place_labels, time_ticks, value_ticks

DRAWN_MAX = 360  # of a drawn curve, as on the results page
SHADE_AT = 0.10  # absolute return of a month with the strongest shade, a fraction
SHADE_MIN, SHADE_MAX = 10, 70  # share of the color in a month's shade, percent


@attrs.frozen(kw_only=True)
class AreaChart:
    """The drawdown over time, as an area below zero, in SVG units."""

    frame: Frame
    area: str  # SVG path data
    zero_y: float
    ticks_x: tuple[Label, ...]
    ticks_y: tuple[Tick, ...]


@attrs.frozen(kw_only=True)
class CostStep:
    """A row from gross to net; ``left`` and ``width`` are percent of the row's width."""

    title: str
    amount: Decimal
    left: float
    width: float
    total: bool  # a sum, not a step
    part: bool  # a part of the sum above


@attrs.frozen(kw_only=True)
class MonthCell:
    """A month of the heat map.

    ``return_twr`` is a fraction, or None if it is unknown. ``shade`` is percent of the color.
    """

    return_twr: float | None
    complete: bool
    trades: int
    shade: int


@attrs.frozen(kw_only=True)
class YearRow:
    """A year of the heat map, with its twelve months from January.

    A month is None if nothing of it was tested. ``return_twr`` is that of the tested months, a
    fraction, or None if one of them is unknown.
    """

    year: str
    months: tuple[MonthCell | None, ...]
    return_twr: float | None


def equity_charts(
    points: Sequence[CurvePoint], halts: Sequence[HaltReport]
) -> tuple[CurveChart, ...]:
    """Return the equity curve in each frame, with halts; empty with one point or none."""
    marks = [
        EquityMark(at_ms=p["at_ms"], equity=value, low=value, high=value)
        for p in points
        for value in (Decimal(p["equity"]),)
    ]
    curve = Curve(width_ms=1, points=_thin(marks), marks=())
    spans = [
        Span(
            kind=MarkKind.HALT,
            from_ms=halt["from_ms"],
            until_ms=points[-1]["at_ms"] if halt["until_ms"] is None else halt["until_ms"],
        )
        for halt in halts
        if TradingState(halt["state"]) in HALT_STATES
    ]
    return curve_charts(curve, spans, ())


def _thin(marks: Sequence[EquityMark]) -> tuple[EquityMark, ...]:
    """Return at most about ``DRAWN_MAX`` points.

    Each has the low and the high of the points that it replaces. The first and the last point stay.
    """
    if len(marks) <= DRAWN_MAX:
        return tuple(marks)
    step = math.ceil((len(marks) - 1) / (DRAWN_MAX - 1))
    merged = [
        attrs.evolve(part[-1], low=min(m.low for m in part), high=max(m.high for m in part))
        for at in range(1, len(marks), step)
        for part in (marks[at : at + step],)
    ]
    return (marks[0], *merged)


def drawdown_charts(points: Sequence[CurvePoint]) -> tuple[AreaChart, ...]:
    """Return the drawdown over time in each frame.

    Empty with fewer than two points or without a drawdown.
    """
    deepest = min((p["drawdown"] for p in points), default=0.0)
    if len(points) < 2 or deepest == 0.0:
        return ()
    return tuple(_area(frame, points, deepest) for frame in BAR_FRAMES)


def _area(frame: Frame, points: Sequence[CurvePoint], deepest: float) -> AreaChart:
    first, last = points[0]["at_ms"], points[-1]["at_ms"]
    x = Scale(first, last, frame.left, frame.inner_right)
    y = Scale(deepest * 1.06, 0.0, frame.inner_bottom, frame.top)
    # Each column of the drawing, one unit wide, has the largest drawdown of its points.
    columns = [
        (at, min(p["drawdown"] for p in part))
        for at, part in groupby(points, key=lambda p: round(x(p["at_ms"])))
    ]
    line = " ".join(f"{at},{y(fall)}" for at, fall in columns)
    zero = y(0.0)
    places = 2 if deepest > -0.01 else 1
    return AreaChart(
        frame=frame,
        area=f"M{columns[0][0]},{zero} {line} {columns[-1][0]},{zero}Z",
        zero_y=zero,
        ticks_x=place_labels(
            ((x(at), label) for at, label in time_ticks(first, last, frame.ticks_x)),
            frame.width,
            frame.label_px,
        ),
        ticks_y=tuple(
            Tick(at=y(value), label=fmt.percent(value, places=places))
            for value in value_ticks(deepest * 1.06, 0.0, frame.ticks_y)
        ),
    )


def r_charts(bins: Sequence[RBinReport]) -> tuple[BarChart, ...]:
    """Return the distribution of R as bars in each frame; empty without a bin."""
    if not bins:
        return ()
    return tuple(_histogram(frame, bins) for frame in BAR_FRAMES)


def _histogram(frame: Frame, bins: Sequence[RBinReport]) -> BarChart:
    most = max(each["trades"] for each in bins)
    y = Scale(0.0, most * 1.08, frame.inner_bottom, frame.top)
    slot = (frame.inner_right - frame.left) / len(bins)
    bars = []
    ticks: list[tuple[float, str]] = []
    for place, each in enumerate(bins):
        left = frame.left + place * slot
        top = y(each["trades"])
        gain = each["low"] is not None and each["low"] >= 0
        bars.append(
            Bar(
                kind=BarKind.GAIN if gain else BarKind.LOSS,
                x=round(left + slot * 0.06, 1),
                y=top,
                width=round(slot * 0.88, 1),
                height=round(frame.inner_bottom - top, 1),
                title=f"{describe_bin(each)}: {fmt.counted(each['trades'], 'trade')}",
            )
        )
        if each["low"] is not None:
            ticks.append((round(left, 1), f"{fmt.number(each['low'], signed=True, places=1)} R"))
    every = max(1, len(ticks) // frame.ticks_x)
    return BarChart(
        frame=frame,
        zero_y=y(0.0),
        bars=tuple(bars),
        ticks_x=place_labels(ticks[::every], frame.width, frame.label_px),
        ticks_y=tuple(
            Tick(at=y(value), label=fmt.count(round(value)))
            for value in value_ticks(0.0, most * 1.08, min(frame.ticks_y, most))
            if value == round(value)
        ),
    )


def describe_bin(each: RBinReport) -> str:
    """Return a bin's bounds such as ``+0.5 to +1.0 R``."""
    low, high = (
        None if side is None else fmt.number(side, signed=True, places=1)
        for side in (each["low"], each["high"])
    )
    if low is None:
        return f"below {high} R"
    return f"{low} R and more" if high is None else f"{low} to {high} R"


def waterfall_steps(waterfall: Waterfall) -> tuple[CostStep, ...]:
    """Return the rows from gross to net, with the place of each bar."""
    amounts = {name: Decimal(text) for name, text in _texts(waterfall).items()}
    levels: list[tuple[str, Decimal, Decimal]] = []  # name, where the bar begins and ends
    reached = Decimal(0)
    for name in WATERFALL_TITLES:
        amount = -amounts[name] if name in COSTS else amounts[name]
        begin = Decimal(0) if name in ("gross", "net", "closed") else reached
        levels.append((name, begin, begin + amount))
        reached = begin + amount
    ends = [end for _, *pair in levels for end in pair]
    low, high = min(ends), max(ends)
    span = (high - low) or Decimal(1)
    return tuple(
        CostStep(
            title=WATERFALL_TITLES[name],
            amount=end - begin,
            left=round(float((min(begin, end) - low) / span) * 100, 2),
            width=round(float(abs(end - begin) / span) * 100, 2),
            total=name in ("gross", "net"),
            part=name in ("closed", "open"),
        )
        for name, begin, end in levels
    )


def _texts(waterfall: Waterfall) -> dict[str, str]:
    return {name: str(text) for name, text in waterfall.items()}


def year_rows(months: Sequence[MonthReport]) -> tuple[YearRow, ...]:
    """Return the rows of the heat map, oldest year first; ``months`` are oldest first."""
    rows = []
    for year, part in groupby(months, key=lambda month: month["month"][:4]):
        cells: list[MonthCell | None] = [None] * 12
        grown: float | None = 1.0
        for month in part:
            value = month["return_twr"]
            grown = None if grown is None or value is None else grown * (1.0 + value)
            cells[int(month["month"][5:]) - 1] = MonthCell(
                return_twr=value,
                complete=month["complete"],
                trades=month["trades"],
                shade=_shade(value),
            )
        rows.append(
            YearRow(
                year=year,
                months=tuple(cells),
                return_twr=None if grown is None else grown - 1.0,
            )
        )
    return tuple(rows)


def _shade(value: float | None) -> int:
    if not value:
        return 0
    share = min(1.0, abs(value) / SHADE_AT)
    return round(SHADE_MIN + share * (SHADE_MAX - SHADE_MIN))
