"""``Frame``, the drawing area of a chart, and the wide and narrow frames."""

from __future__ import annotations

from enum import StrEnum

import attrs


class FrameName(StrEnum):
    """The class of a frame in the style sheet."""

    WIDE = "wide"
    NARROW = "narrow"


@attrs.frozen(kw_only=True)
class Frame:
    """The drawing area in SVG user units, with the margins, which have the labels.

    ``left``, ``right``, ``top`` and ``bottom`` are the widths of the margins.
    """

    name: FrameName
    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    ticks_x: int  # wanted number of ticks
    ticks_y: int
    label_px: float  # the largest font of a label in the style sheet

    @property
    def inner_right(self) -> int:
        """The right edge of the area without labels."""
        return self.width - self.right

    @property
    def inner_bottom(self) -> int:
        """The bottom edge of the area without labels."""
        return self.height - self.bottom


CURVE_FRAMES = (
    Frame(
        name=FrameName.WIDE,
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
        name=FrameName.NARROW,
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
