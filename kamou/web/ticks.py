"""Ticks of the axes of charts at round values and times, and the places of labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from enum import StrEnum

import attrs

from kamou.core.day import DAY_MS, HOUR_MS


def nice_step(span: float, count: int) -> float:
    """Return the smallest round step with at most ``count`` steps in ``span``.

    Round steps are 1, 2, 2.5 and 5 x 10^k.
    """
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= raw * (1 - 1e-9))


def value_ticks(low: float, high: float, count: int) -> tuple[float, ...]:
    """Return the multiples of ``nice_step`` in ``[low, high]``."""
    step = nice_step(high - low, count)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(i * step for i in range(first, last + 1))


EM_PER_CHAR = 0.62  # of the labels in DejaVu Sans, the widest of the style sheet's fonts
GAP_EM = 0.5  # between two labels


class Anchor(StrEnum):
    """The point of a label at ``text_x``, as SVG names it."""

    START = "start"
    MIDDLE = "middle"
    END = "end"


@attrs.frozen(kw_only=True)
class Label:
    """A tick of the horizontal axis, with the place of its label, in SVG units."""

    at: float
    label: str  # empty if there is no space for it
    text_x: float
    anchor: Anchor


def label_width(label: str, font_px: float) -> float:
    """Return the largest width that a label may have, in the drawing's units."""
    return len(label) * EM_PER_CHAR * font_px


def place_labels(
    ticks: Iterable[tuple[float, str]], width: float, font_px: float
) -> tuple[Label, ...]:
    """Place the labels so that none is cut at an edge and none overlaps the next one.

    A label is centered at its tick, or begins or ends at the edge of the drawing if it would be
    cut there. If two labels overlap, the later one stays.

    Args:
        ticks: positions and labels, from left to right, in the drawing's units.
        width: width of the drawing, in the same units.
        font_px: the largest font that the style sheet gives the labels.
    """
    placed: list[Label] = []
    free = float(width)  # the start of the label to the right
    for at, label in reversed(tuple(ticks)):
        size = label_width(label, font_px)
        anchor, text_x, begin = Anchor.MIDDLE, at, at - size / 2
        if begin < 0:
            anchor, text_x, begin = Anchor.START, 0.0, 0.0
        elif begin + size > width:
            anchor, text_x, begin = Anchor.END, float(width), width - size
        fits = begin + size <= free
        free = begin - GAP_EM * font_px if fits else free
        placed.append(Label(at=at, label=label if fits else "", text_x=text_x, anchor=anchor))
    return tuple(placed[::-1])


TIME_STEPS_MS = tuple(hours * HOUR_MS for hours in (1, 3, 6, 12, 24, 48, 96, 168, 240))
MONTH_STEPS = (1, 2, 3, 6, 12)
MONTH_MS = 30 * DAY_MS  # exact enough for the choice of a step


def time_ticks(from_ms: int, to_ms: int, count: int) -> tuple[tuple[int, str], ...]:
    """Return about ``count`` round UTC times in ``[from_ms, to_ms]``, with labels.

    The largest step is a year, so a span of more years has more times.
    """
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
