"""The geometry of the charts: plain numbers that the templates write out as SVG.

Everything is drawn twice, wide and narrow, because text inside a scaled SVG scales with it: a
style sheet shows the one that fits, so that labels stay readable on a telephone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import attrs

from kamou.clock import DAY_MS, HOUR_MS
from kamou.store.public_queries import Mark
from kamou.web import format as fmt


@attrs.frozen(kw_only=True)
class Frame:
    """The drawing area in SVG user units, with room for the labels."""

    name: str  # wide | narrow
    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    ticks_x: int
    ticks_y: int

    @property
    def inner_right(self) -> int:
        return self.width - self.right

    @property
    def inner_bottom(self) -> int:
        return self.height - self.bottom


CURVE_FRAMES = (
    Frame(
        name="wide",
        width=1040,
        height=360,
        left=4,
        right=64,
        top=14,
        bottom=28,
        ticks_x=8,
        ticks_y=5,
    ),
    Frame(
        name="narrow",
        width=360,
        height=260,
        left=2,
        right=52,
        top=12,
        bottom=26,
        ticks_x=3,
        ticks_y=4,
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
    """A stretch of time to be marked: a halt, or a time when nothing ran."""

    kind: str  # halt | down
    from_ms: int
    until_ms: int
    title: str


@attrs.frozen(kw_only=True)
class Event:
    """A moment to be marked: a deposit, a withdrawal, another configuration."""

    kind: str  # flow | config
    at_ms: int
    title: str


@attrs.frozen(kw_only=True)
class Band:
    kind: str
    x: float
    width: float
    title: str


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
    ticks_x: tuple[Tick, ...]
    ticks_y: tuple[Tick, ...]
    bands: tuple[Band, ...]
    markers: tuple[Marker, ...]


@attrs.frozen(kw_only=True)
class Bar:
    kind: str  # gain | loss | idle
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
    ticks_x: tuple[Tick, ...]
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
    marks: Sequence[Mark], spans: Sequence[Span], events: Sequence[Event]
) -> tuple[CurveChart, ...]:
    """The equity curve in each frame; empty when there is no line to draw."""
    if len(marks) < 2:
        return ()
    return tuple(_curve(frame, marks, spans, events) for frame in CURVE_FRAMES)


def day_charts(days: Sequence[tuple[str, float, str]]) -> tuple[BarChart, ...]:
    """Daily returns as bars in each frame, from ``(day, fraction, title)``, oldest first."""
    if len(days) < 2:
        return ()
    return tuple(_bars(frame, days) for frame in BAR_FRAMES)


def whisker(value: float, low: float, high: float | None, neutral: float) -> Whisker:
    """An interval against its neutral figure (zero, or one for a ratio)."""
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


# --- ticks -----------------------------------------------------------------------------------


def nice_step(span: float, count: int) -> float:
    """The smallest of 1, 2, 2.5, 5 x 10^k that cuts ``span`` in at most ``count`` pieces."""
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= raw * (1 - 1e-9))


def value_ticks(low: float, high: float, count: int) -> tuple[float, ...]:
    """Round values inside ``[low, high]``."""
    step = nice_step(high - low, count)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(i * step for i in range(first, last + 1))


TIME_STEPS_MS = tuple(hours * HOUR_MS for hours in (1, 3, 6, 12, 24, 48, 96, 168, 240))
MONTH_STEPS = (1, 2, 3, 6, 12)
MONTH_MS = 30 * DAY_MS  # near enough to choose a step by


def time_ticks(from_ms: int, to_ms: int, count: int) -> tuple[tuple[int, str], ...]:
    """Round UTC moments inside ``[from_ms, to_ms]``, at most about ``count``, with short labels."""
    wanted = (to_ms - from_ms) / count
    step = next((s for s in TIME_STEPS_MS if s >= wanted), None)
    if step is not None:
        first = -(-from_ms // step) * step
        return tuple((at, _label(at, step)) for at in range(first, to_ms + 1, step))
    if wanted <= MONTH_MS * 0.55:
        return tuple(
            (at, _label(at, DAY_MS)) for at in _month_days(from_ms, to_ms, months=1, days=(1, 16))
        )
    months = next((m for m in MONTH_STEPS if m * MONTH_MS >= wanted), MONTH_STEPS[-1])
    return tuple((at, _label(at, MONTH_MS)) for at in _month_days(from_ms, to_ms, months=months))


def _month_days(
    from_ms: int, to_ms: int, *, months: int, days: tuple[int, ...] = (1,)
) -> Iterator[int]:
    first, last = (datetime.fromtimestamp(at // 1000, UTC) for at in (from_ms, to_ms))
    for month in range(first.year * 12 + first.month - 1, last.year * 12 + last.month):
        if month % months == 0:
            for day in days:
                at = datetime(month // 12, month % 12 + 1, day, tzinfo=UTC)
                at_ms = int(at.timestamp()) * 1000
                if from_ms <= at_ms <= to_ms:
                    yield at_ms


def _label(at_ms: int, step_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    if step_ms < DAY_MS:
        return f"{at.day} {at:%b %H:%M}"
    return f"{at.day} {at:%b}" if step_ms < MONTH_MS else f"{at:%b %Y}"


# --- drawing ---------------------------------------------------------------------------------


def _curve(
    frame: Frame, marks: Sequence[Mark], spans: Sequence[Span], events: Sequence[Event]
) -> CurveChart:
    start = float(marks[0].equity)
    low, high = min(m.low for m in marks), max(m.high for m in marks)
    # never so near that a still account looks wild: a thousandth of it on either side
    pad = max((high - low) * 0.06, abs(start) * 0.001, 0.01)
    x = Scale(marks[0].at_ms, marks[-1].at_ms, frame.left, frame.inner_right)
    y = Scale(low - pad, high + pad, frame.inner_bottom, frame.top)
    line = " ".join(f"{x(m.at_ms)},{y(float(m.equity))}" for m in marks)
    upper = [f"{x(m.at_ms)},{y(m.high)}" for m in marks]
    lower = [f"{x(m.at_ms)},{y(m.low)}" for m in reversed(marks)]
    return CurveChart(
        frame=frame,
        line=f"M{line}",
        envelope=f"M{' '.join(upper + lower)}Z",
        start_y=y(start),
        end_x=x(marks[-1].at_ms),
        end_y=y(float(marks[-1].equity)),
        ticks_x=tuple(
            Tick(at=x(at), label=label)
            for at, label in time_ticks(marks[0].at_ms, marks[-1].at_ms, frame.ticks_x)
        ),
        ticks_y=tuple(
            Tick(at=y(value), label=fmt.money(value, places=0 if high - low > 10 else 2))
            for value in value_ticks(low - pad, high + pad, frame.ticks_y)
        ),
        bands=tuple(_band(x, span) for span in spans if span.until_ms > marks[0].at_ms),
        markers=tuple(
            Marker(kind=event.kind, x=x(event.at_ms), title=event.title)
            for event in events
            if marks[0].at_ms < event.at_ms <= marks[-1].at_ms
        ),
    )


def _band(x: Scale, span: Span) -> Band:
    begin = min(max(x(span.from_ms), x.first), x.last)
    end = min(max(x(span.until_ms), x.first), x.last)
    # a halt of minutes would vanish on a curve of months: never thinner than can be seen
    return Band(kind=span.kind, x=begin, width=round(max(end - begin, 2.0), 1), title=span.title)


def _bars(frame: Frame, days: Sequence[tuple[str, float, str]]) -> BarChart:
    top = max(0.0, *(value for _, value, _ in days))
    bottom = min(0.0, *(value for _, value, _ in days))
    pad = (top - bottom) * 0.08 or 0.01
    y = Scale(bottom - pad, top + pad, frame.inner_bottom, frame.top)
    slot = (frame.inner_right - frame.left) / len(days)
    zero = y(0.0)
    bars: list[Bar] = []
    for i, (_, value, title) in enumerate(days):
        height = max(abs(y(value) - zero), 0.5)
        bars.append(
            Bar(
                kind="gain" if value > 0 else "loss" if value < 0 else "idle",
                x=round(frame.left + i * slot + slot * 0.12, 2),
                y=round(zero - height if value > 0 else zero, 1),
                width=round(slot * 0.76, 2),
                height=round(height, 1),
                title=title,
            )
        )
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


def _day_ticks(
    frame: Frame, days: Sequence[tuple[str, float, str]], slot: float
) -> tuple[Tick, ...]:
    first, last = fmt.day_ms(days[0][0]), fmt.day_ms(days[-1][0])
    wanted = max(DAY_MS, (last - first) // frame.ticks_x)
    return tuple(
        Tick(at=round(frame.left + ((at - first) / DAY_MS + 0.5) * slot, 1), label=label)
        for at, label in time_ticks(first, last, max(1, (last - first) // wanted))
    )
