"""The geometry of the charts: plain numbers that the templates write out as SVG.

Everything is drawn twice, wide and narrow, because text inside a scaled SVG scales with it: a
style sheet shows the one that fits, so that labels stay readable on a telephone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal

import attrs

from kamou.core.day import DAY_MS
from kamou.store.public_queries import Curve, EquityMark
from kamou.web import format as fmt
from kamou.web.ticks import Label, label_width, place_labels, time_ticks, value_ticks


@attrs.frozen(kw_only=True)
class Frame:
    """The drawing area in SVG user units, with space for the labels."""

    name: str  # wide | narrow
    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    ticks_x: int
    ticks_y: int
    label_px: float  # the largest font of a label in the style sheet

    @property
    def inner_right(self) -> int:
        return self.width - self.right

    @property
    def inner_bottom(self) -> int:
        return self.height - self.bottom


LABEL_LEFT = 8  # from the frame to the labels of the axis of values
CURVE_FRAMES = (
    Frame(
        name="wide",
        width=1040,
        height=360,
        left=4,
        right=84,
        top=14,
        bottom=28,
        ticks_x=8,
        ticks_y=5,
        label_px=19.5,
    ),
    Frame(
        name="narrow",
        width=360,
        height=260,
        left=2,
        right=72,
        top=12,
        bottom=26,
        ticks_x=3,
        ticks_y=4,
        label_px=16.5,
    ),
)
BAR_FRAMES = tuple(
    attrs.evolve(frame, height=height, ticks_y=5, top=8)
    for frame, height in zip(CURVE_FRAMES, (170, 150), strict=True)
)


@attrs.frozen(kw_only=True)
class Tick:
    at: float
    label: str


@attrs.frozen(kw_only=True)
class Span:
    """A period to be marked in addition to those of the curve: a halt that goes on."""

    kind: str  # halt | down
    from_ms: int
    until_ms: int


@attrs.frozen(kw_only=True)
class ChartEvent:
    """A moment to be marked and named: a deposit, a withdrawal, a new configuration."""

    kind: str  # transfer | config
    at_ms: int
    title: str


@attrs.frozen(kw_only=True)
class Band:
    """All periods of one kind, as one path."""

    kind: str
    path: str


@attrs.frozen(kw_only=True)
class Marker:
    kind: str
    x: float
    title: str


@attrs.frozen(kw_only=True)
class CurveChart:
    frame: Frame
    line: str  # SVG path data
    envelope: str  # the extremes between the points of the line
    start_y: float
    end_x: float
    end_y: float
    ticks_x: tuple[Label, ...]
    ticks_y: tuple[Tick, ...]
    bands: tuple[Band, ...]
    markers: tuple[Marker, ...]
    moments: str  # SVG path data of every stretch with a transfer or a new configuration


@attrs.frozen(kw_only=True)
class BarDay:
    """A row of the record to be drawn: ``days`` calendar days; no ``value``: not separable."""

    day: str
    days: int
    value: float | None
    title: str


@attrs.frozen(kw_only=True)
class Bar:
    kind: str  # gain | loss | idle | unseparated
    x: float
    y: float
    width: float
    height: float
    title: str


@attrs.frozen(kw_only=True)
class BarChart:
    frame: Frame
    zero_y: float
    bars: tuple[Bar, ...]
    ticks_x: tuple[Label, ...]
    ticks_y: tuple[Tick, ...]


@attrs.frozen(kw_only=True)
class Whisker:
    """An interval on a line, with the value and the figure that means "nothing" marked."""

    width: int
    low_x: float
    high_x: float
    value_x: float
    neutral_x: float
    open_above: bool


@attrs.frozen
class Scale:
    """Linear: ``low`` is drawn at ``first``, ``high`` at ``last``."""

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
    """Return the equity curve in each frame; empty if there is no line to draw.

    ``opening`` is when the record began, and with what. The first point of the curve is the end of
    its first stretch, which may be days later.
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
        _curve(narrow, curve, halved(points), spans, events),
    )


def halved(points: Sequence[EquityMark]) -> tuple[EquityMark, ...]:
    """Merge neighbors and keep lows and highs, for the fewer pixels of a telephone."""
    made = [
        attrs.evolve(last, low=min(first.low, last.low), high=max(first.high, last.high))
        for first, last in zip(points[1::2], points[2::2], strict=False)
    ]
    # The first point is where the line begins, the last where it ends.
    return (points[0], *made, *(points[-1:] if len(points) % 2 == 0 else ()))


def day_charts(days: Sequence[BarDay]) -> tuple[BarChart, ...]:
    """Return daily returns as bars in each frame, oldest first."""
    if len(days) < 2:
        return ()
    return tuple(_bars(frame, days) for frame in BAR_FRAMES)


def whisker(value: float, low: float, high: float | None, neutral: float) -> Whisker:
    """Return the drawing of an interval and its neutral figure (zero, or one for a ratio)."""
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
    # At least a thousandth on either side, so that an idle account looks flat.
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
    for kind in ("halt", "down"):
        stretches = [
            (m.start_ms, m.start_ms + curve.width_ms) for m in curve.marks if m.kind == kind
        ]
        stretches += [(span.from_ms, span.until_ms) for span in spans if span.kind == kind]
        path = "".join(
            # At least two units wide: a halt of minutes would vanish on a curve of months.
            f"M{begin},{frame.top}h{round(max(end - begin, 2.0), 1)}V{frame.inner_bottom}H{begin}Z"
            for begin, end in _joined(x, stretches)
        )
        if path:
            yield Band(kind=kind, path=path)


def _joined(x: Scale, stretches: Sequence[tuple[int, int]]) -> Iterator[tuple[float, float]]:
    """Yield periods in the frame's units, clipped to it; those that touch are joined."""
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
    """Return marks of events that are merged in the curve, each at the middle of its period."""
    own = {(event.kind, event.at_ms - event.at_ms % curve.width_ms) for event in events}
    middles = {
        x(mark.start_ms + curve.width_ms // 2)
        for mark in curve.marks
        if mark.kind in ("transfer", "config") and (mark.kind, mark.start_ms) not in own
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


def _kind(value: float | None) -> str:
    if value is None:
        return "unseparated"
    return "gain" if value > 0 else "loss" if value < 0 else "idle"


def _day_ticks(frame: Frame, days: Sequence[BarDay], slot: float) -> tuple[Label, ...]:
    first = fmt.day_ms(days[0].day)
    last = first + (sum(day.days for day in days) - 1) * DAY_MS
    wanted = max(DAY_MS, (last - first) // frame.ticks_x)
    ticks = (
        (round(frame.left + ((at - first) / DAY_MS + 0.5) * slot, 1), label)
        for at, label in time_ticks(first, last, max(1, (last - first) // wanted))
    )
    return place_labels(ticks, frame.width, frame.label_px)
