"""Geometry of the charts: numbers that the templates write as SVG.

The equity curve and the daily returns are drawn twice, wide and narrow, because text inside an SVG
scales with it. The style sheet shows the drawing that fits, so that labels stay readable on a
telephone. A whisker, the interval of one figure, has no text and is drawn once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from enum import StrEnum

import attrs

from kamou.core.day import DAY_MS
from kamou.store.public_queries import Curve
from kamou.store.record_rows import MOMENT_MARKS, SPAN_MARKS, EquityMark, MarkKind
from kamou.web import format as fmt
from kamou.web.chart_frames import BAR_FRAMES, CURVE_FRAMES, Frame
from kamou.web.ticks import Label, label_width, place_labels, time_ticks, value_ticks

LABEL_LEFT = 8  # SVG units from the drawing to the labels of the axis of values


@attrs.frozen(kw_only=True)
class Tick:
    """A tick of the vertical axis; ``at`` is its place in SVG units."""

    at: float
    label: str


@attrs.frozen(kw_only=True)
class Span:
    """A period that is marked in addition to those of the curve, such as an open halt."""

    kind: MarkKind  # one of SPAN_MARKS
    from_ms: int
    until_ms: int


@attrs.frozen(kw_only=True)
class ChartEvent:
    """A marked moment with a title: a deposit, a withdrawal or a new configuration."""

    kind: MarkKind  # one of MOMENT_MARKS
    at_ms: int
    title: str


@attrs.frozen(kw_only=True)
class Band:
    """All periods of one kind as one path, in SVG path data."""

    kind: MarkKind
    path: str


@attrs.frozen(kw_only=True)
class Marker:
    """A ``ChartEvent`` as it is drawn, at ``x`` in SVG units."""

    kind: MarkKind
    x: float
    title: str


@attrs.frozen(kw_only=True)
class CurveChart:
    """The equity curve in one frame."""

    frame: Frame
    line: str  # SVG path data
    envelope: str  # SVG path data of the area from the lows to the highs
    start_y: float
    end_x: float
    end_y: float
    ticks_x: tuple[Label, ...]
    ticks_y: tuple[Tick, ...]
    bands: tuple[Band, ...]
    markers: tuple[Marker, ...]
    moments: str  # SVG path data: intervals with a transfer or configuration, but no marker of it


@attrs.frozen(kw_only=True)
class BarDay:
    """A daily row of the record, of one or more calendar days."""

    day: str
    days: int
    value: float | None  # the return; None if the days are not separable
    title: str


class BarKind(StrEnum):
    """The result that a bar shows: of a day, or of the trades of a bin of R."""

    GAIN = "gain"
    LOSS = "loss"
    IDLE = "idle"
    UNSEPARATED = "unseparated"  # the days are not separable


@attrs.frozen(kw_only=True)
class Bar:
    """A ``BarDay``, or a bin of the distribution of R, as it is drawn in SVG units."""

    kind: BarKind
    x: float
    y: float
    width: float
    height: float
    title: str


@attrs.frozen(kw_only=True)
class BarChart:
    """The daily returns, or the distribution of R, in one frame."""

    frame: Frame
    zero_y: float
    bars: tuple[Bar, ...]
    ticks_x: tuple[Label, ...]
    ticks_y: tuple[Tick, ...]


@attrs.frozen(kw_only=True)
class Whisker:
    """An interval on a line, with marks of value and neutral figure, in SVG units."""

    width: int
    low_x: float
    high_x: float
    value_x: float
    neutral_x: float
    open_above: bool


@attrs.frozen
class Scale:
    """A linear scale from ``low`` at ``first`` to ``high`` at ``last``, to 0.1 units."""

    low: float
    high: float
    first: float
    last: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.first + share * (self.last - self.first), 1)


def curve_charts(
    curve: Curve,
    spans: Sequence[Span],
    events: Sequence[ChartEvent],
    opening: tuple[int, Decimal] | None = None,
) -> tuple[CurveChart, ...]:
    """Return the equity curve in each frame; empty with fewer than two points.

    ``opening`` is the time of the record's start and its equity. It becomes the first point if it
    is earlier than the curve's, which is at the end of the curve's first interval.
    """
    points = curve.points
    if opening is not None and points and opening[0] < points[0].at_ms:
        at_ms, equity = opening
        points = (EquityMark(at_ms=at_ms, equity=equity, low=equity, high=equity), *points)
    if len(points) < 2:
        return ()
    wide, narrow = CURVE_FRAMES
    return (
        _curve(wide, curve, points, spans, events),
        _curve(narrow, curve, halve_points(points), spans, events),
    )


def halve_points(points: Sequence[EquityMark]) -> tuple[EquityMark, ...]:
    """Return about half the points, with the lows and highs of the merged neighbors."""
    merged = [
        attrs.evolve(last, low=min(first.low, last.low), high=max(first.high, last.high))
        for first, last in zip(points[1::2], points[2::2], strict=False)
    ]
    # The first and the last point stay, because the line begins and ends there.
    return (points[0], *merged, *(points[-1:] if len(points) % 2 == 0 else ()))


def day_charts(days: Sequence[BarDay]) -> tuple[BarChart, ...]:
    """Return the daily returns as bars in each frame; empty with fewer than two days.

    ``days`` are oldest first.
    """
    if len(days) < 2:
        return ()
    return tuple(_bars(frame, days) for frame in BAR_FRAMES)


def whisker(value: float, low: float, high: float | None, neutral: float) -> Whisker:
    """Return the drawing of an interval; a ``high`` of None has no upper bound.

    ``neutral`` is the figure without profit or loss: zero, or one for a ratio.
    """
    width = 120
    top = max(value, neutral, low) if high is None else max(high, value, neutral)
    bottom = min(low, value, neutral)
    pad = (top - bottom) * 0.06 or 1.0
    scale = Scale(bottom - pad, top + pad, 0, width)
    return Whisker(
        width=width,
        low_x=scale(low),
        high_x=float(width) if high is None else scale(high),
        value_x=scale(value),
        neutral_x=scale(neutral),
        open_above=high is None,
    )


# --- drawing ---------------------------------------------------------------------------------


def _curve(
    frame: Frame,
    curve: Curve,
    marks: Sequence[EquityMark],
    spans: Sequence[Span],
    events: Sequence[ChartEvent],
) -> CurveChart:
    start, end = float(marks[0].equity), float(marks[-1].equity)
    low, high = (float(m) for m in (min(m.low for m in marks), max(m.high for m in marks)))
    # A margin of at least a thousandth of equity, so that the line of an idle account is flat.
    pad = max((high - low) * 0.06, abs(start) * 0.001, 0.01)
    y = Scale(low - pad, high + pad, frame.inner_bottom, frame.top)
    ticks_y = tuple(
        Tick(at=y(value), label=fmt.money(value, places=0 if high - low > 10 else 2))
        for value in value_ticks(low - pad, high + pad, frame.ticks_y)
    )
    widest = max((label_width(tick.label, frame.label_px) for tick in ticks_y), default=0.0)
    frame = attrs.evolve(frame, right=max(frame.right, LABEL_LEFT + math.ceil(widest)))
    x = Scale(marks[0].at_ms, marks[-1].at_ms, frame.left, frame.inner_right)
    at = [x(m.at_ms) for m in marks]
    line = " ".join(f"{p},{y(float(m.equity))}" for p, m in zip(at, marks, strict=True))
    upper = [f"{p},{y(float(m.high))}" for p, m in zip(at, marks, strict=True)]
    lower = [f"{p},{y(float(m.low))}" for p, m in zip(at, marks, strict=True)]
    return CurveChart(
        frame=frame,
        line=f"M{line}",
        envelope=f"M{' '.join(upper + lower[::-1])}Z",
        start_y=y(start),
        end_x=at[-1],
        end_y=y(end),
        ticks_x=place_labels(
            (
                (x(when), label)
                for when, label in time_ticks(marks[0].at_ms, marks[-1].at_ms, frame.ticks_x)
            ),
            frame.width,
            frame.label_px,
        ),
        ticks_y=ticks_y,
        bands=tuple(_bands(frame, x, curve, spans)),
        markers=tuple(
            Marker(kind=event.kind, x=x(event.at_ms), title=event.title)
            for event in events
            if marks[0].at_ms <= event.at_ms <= marks[-1].at_ms
        ),
        moments=_moments(frame, x, curve, events),
    )


def _bands(frame: Frame, x: Scale, curve: Curve, spans: Sequence[Span]) -> Iterator[Band]:
    for kind in SPAN_MARKS:
        stretches = [
            (m.start_ms, m.start_ms + curve.width_ms) for m in curve.marks if m.kind is kind
        ]
        stretches += [(span.from_ms, span.until_ms) for span in spans if span.kind is kind]
        path = "".join(
            # At least two units wide: a halt of minutes would be invisible on a curve of months.
            f"M{begin},{frame.top}h{round(max(end - begin, 2.0), 1)}V{frame.inner_bottom}H{begin}Z"
            for begin, end in _join_stretches(x, stretches)
        )
        if path:
            yield Band(kind=kind, path=path)


def _join_stretches(
    x: Scale, stretches: Sequence[tuple[int, int]]
) -> Iterator[tuple[float, float]]:
    """Yield periods in the frame's units, clipped to it, with touching ones joined."""
    begin = end = None
    for from_ms, until_ms in sorted(stretches):
        if until_ms <= x.low or from_ms >= x.high:
            continue
        first, last = (min(max(x(at), x.first), x.last) for at in (from_ms, until_ms))
        if begin is None or end is None:
            begin, end = first, last
        elif first <= end:
            end = max(end, last)
        else:
            yield begin, end
            begin, end = first, last
    if begin is not None and end is not None:
        yield begin, end


def _moments(frame: Frame, x: Scale, curve: Curve, events: Sequence[ChartEvent]) -> str:
    """Return the path of marks in intervals with an event but no marker of its kind."""
    own = {(event.kind, event.at_ms - event.at_ms % curve.width_ms) for event in events}
    middles = {
        x(mark.start_ms + curve.width_ms // 2)
        for mark in curve.marks
        if mark.kind in MOMENT_MARKS and (mark.kind, mark.start_ms) not in own
    }
    inside = sorted(at for at in middles if frame.left <= at <= frame.inner_right)
    return "".join(f"M{at},{frame.top}V{frame.inner_bottom}" for at in inside)


def _bars(frame: Frame, days: Sequence[BarDay]) -> BarChart:
    values = [day.value for day in days if day.value is not None]
    top, bottom = max(0.0, *values, 0.0), min(0.0, *values, 0.0)
    pad = (top - bottom) * 0.08 or 0.01
    y = Scale(bottom - pad, top + pad, frame.inner_bottom, frame.top)
    slot = (frame.inner_right - frame.left) / sum(day.days for day in days)
    zero = y(0.0)
    bars: list[Bar] = []
    left = float(frame.left)
    for day in days:
        height = max(abs(y(day.value) - zero), 0.5) if day.value is not None else 3.0
        bars.append(
            Bar(
                kind=_kind(day.value),
                x=round(left + slot * 0.12, 1),
                y=round(zero - height if day.value is not None and day.value > 0 else zero, 1),
                width=round(slot * (day.days - 0.24), 1),
                height=round(height, 1),
                title=day.title,
            )
        )
        left += slot * day.days
    return BarChart(
        frame=frame,
        zero_y=zero,
        bars=tuple(bars),
        ticks_x=_day_ticks(frame, days, slot),
        ticks_y=tuple(
            Tick(at=y(value), label=fmt.percent(value, signed=True, places=1))
            for value in value_ticks(bottom - pad, top + pad, frame.ticks_y)
        ),
    )


def _kind(value: float | None) -> BarKind:
    if value is None:
        return BarKind.UNSEPARATED
    if value > 0:
        return BarKind.GAIN
    return BarKind.LOSS if value < 0 else BarKind.IDLE


def _day_ticks(frame: Frame, days: Sequence[BarDay], slot: float) -> tuple[Label, ...]:
    first = fmt.day_ms(days[0].day)
    last = first + (sum(day.days for day in days) - 1) * DAY_MS
    wanted = max(DAY_MS, (last - first) // frame.ticks_x)
    ticks = (
        (round(frame.left + ((at - first) / DAY_MS + 0.5) * slot, 1), label)
        for at, label in time_ticks(first, last, max(1, (last - first) // wanted))
    )
    return place_labels(ticks, frame.width, frame.label_px)
