from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.day import DAY_MS, HOUR_MS
from kamou.store.public_queries import Curve
from kamou.store.record_rows import SPAN_MARKS, CurveMark, EquityMark, MarkKind
from kamou.web import chart, ticks
from kamou.web.app import PublicSite
from kamou.web.chart_frames import CURVE_FRAMES
from tests.site_client import Client

START_MS = 1_753_488_000_000  # 2025-07-26T00:00Z


def marks(*equity: float, step_ms: int = HOUR_MS, noted: Sequence[CurveMark] = ()) -> Curve:
    money = [Decimal(str(e)) for e in equity]
    return Curve(
        width_ms=step_ms,
        points=tuple(
            EquityMark(at_ms=START_MS + i * step_ms, equity=e, low=e, high=e)
            for i, e in enumerate(money)
        ),
        marks=tuple(noted),
    )


def noted(kind: MarkKind, at_ms: int) -> CurveMark:
    return CurveMark(kind=kind, start_ms=at_ms, amount=Decimal(0))


def bar_day(day: str, value: float | None, days: int = 1) -> chart.BarDay:
    return chart.BarDay(day=day, days=days, value=value, title="")


def points(path: str) -> list[tuple[float, float]]:
    return [
        (float(x), float(y)) for x, y in (pair.split(",") for pair in path.strip("MZ").split(" "))
    ]


def test_a_higher_equity_is_drawn_higher_and_a_later_one_further_right() -> None:
    for drawn in chart.curve_charts(marks(100, 90, 110), (), ()):
        if drawn.frame.name == "narrow":
            continue  # it has half the points
        (x0, y0), (x1, y1), (x2, y2) = points(drawn.line)
        assert x0 < x1 < x2
        assert y2 < y0 < y1
        assert drawn.start_y == y0
        assert (drawn.end_x, drawn.end_y) == (x2, y2)


@given(st.lists(st.floats(1, 1e7), min_size=2, max_size=40))
@settings(max_examples=50)
def test_line_envelope_and_value_ticks_stay_inside_their_frame(equity: list[float]) -> None:
    for drawn in chart.curve_charts(marks(*equity), (), ()):
        frame = drawn.frame
        for x, y in points(drawn.line) + points(drawn.envelope):
            assert frame.left <= x <= frame.inner_right
            assert frame.top <= y <= frame.inner_bottom
        for tick in drawn.ticks_y:
            assert frame.top - 0.1 <= tick.at <= frame.inner_bottom + 0.1


def test_a_single_mark_draws_no_curve_and_a_single_day_no_bars() -> None:
    assert chart.curve_charts(marks(100), (), ()) == ()
    assert chart.day_charts([bar_day("2025-07-26", 0.1)]) == ()


def test_the_envelope_shows_a_dip_that_thinning_left_out() -> None:
    flat = marks(100, 100, 100)
    dip = attrs.evolve(flat.points[1], low=Decimal(60), high=Decimal(101))
    dipped = attrs.evolve(flat, points=(flat.points[0], dip, flat.points[2]))
    for drawn in chart.curve_charts(dipped, (), ()):
        assert max(y for _, y in points(drawn.envelope)) > max(y for _, y in points(drawn.line))


@given(st.lists(st.floats(1, 1e6), min_size=2, max_size=30))
@settings(max_examples=50)
def test_halving_the_points_keeps_both_ends_the_lowest_low_and_the_highest_high(
    equity: list[float],
) -> None:
    whole = marks(*equity).points
    half = chart.halve_points(whole)
    assert len(half) <= len(whole) // 2 + 1
    assert (half[0], half[-1].at_ms, half[-1].equity) == (
        whole[0],
        whole[-1].at_ms,
        whole[-1].equity,
    )
    assert min(m.low for m in half) == min(m.low for m in whole)
    assert max(m.high for m in half) == max(m.high for m in whole)


def test_halts_and_downtime_are_bands_at_least_2_units_wide_inside_the_chart() -> None:
    gaps = [noted(MarkKind.DOWN, START_MS + i * DAY_MS) for i in range(-3, 1)]
    curve = marks(
        *range(100, 700),
        step_ms=DAY_MS,
        noted=[noted(MarkKind.HALT, START_MS + 300 * DAY_MS), *gaps],
    )
    spans = [chart.Span(kind=MarkKind.HALT, from_ms=START_MS + 500 * DAY_MS, until_ms=2**50)]
    wide = chart.curve_charts(curve, spans, ())[0]
    found = {band.kind: re.findall(r"M([\d.]+),14h([\d.]+)V", band.path) for band in wide.bands}
    assert set(found) == set(SPAN_MARKS)
    for left, width in found[MarkKind.HALT] + found[MarkKind.DOWN]:
        assert float(width) >= 2
        assert wide.frame.left <= float(left)
        assert float(left) + float(width) <= wide.frame.inner_right + 0.1
    assert len(found[MarkKind.HALT]) == 2, "a halt that ended and one that goes on"
    assert len(found[MarkKind.DOWN]) == 1, (
        "neighbors are one band, and what was before the record is cut"
    )
    assert float(found[MarkKind.DOWN][0][0]) == wide.frame.left


def test_an_event_after_the_end_of_the_curve_is_not_marked() -> None:
    curve = marks(100, 101, 102)
    events = [
        chart.ChartEvent(kind=MarkKind.TRANSFER, at_ms=START_MS + HOUR_MS, title="in"),
        chart.ChartEvent(kind=MarkKind.CONFIG, at_ms=START_MS + DAY_MS, title="out"),
    ]
    assert [m.title for m in chart.curve_charts(curve, (), events)[0].markers] == ["in"]


def test_every_transfer_inside_the_curve_is_drawn() -> None:
    net_deposits = [noted(MarkKind.TRANSFER, START_MS + i * DAY_MS) for i in range(-2, 300)]
    wide = chart.curve_charts(marks(*range(100, 400), step_ms=DAY_MS, noted=net_deposits), (), ())[
        0
    ]
    assert wide.moments.count("M") == 299, (
        "every transfer inside the curve, without the last, which is beyond its end"
    )


def test_bars_of_losing_days_are_below_the_zero_line_and_of_gaining_days_above_it() -> None:
    values = (0.01, -0.02, 0.0)
    days = [bar_day(f"2025-07-{26 + i}", value) for i, value in enumerate(values)]
    for drawn in chart.day_charts(days):
        gain, loss, idle = drawn.bars
        assert (gain.kind, loss.kind, idle.kind) == ("gain", "loss", "idle")
        assert gain.y + gain.height == pytest.approx(drawn.zero_y, abs=0.11)
        assert loss.y == drawn.zero_y
        assert loss.height == pytest.approx(2 * gain.height, rel=0.1)


def test_days_without_profit_or_loss_can_be_drawn() -> None:
    (wide, _) = chart.day_charts([bar_day("2025-07-26", 0.0), bar_day("2025-07-27", 0.0)])
    assert [bar.kind for bar in wide.bars] == ["idle", "idle"]


def test_days_that_are_not_separable_are_drawn_at_their_width_without_a_sign() -> None:
    days = [
        bar_day("2025-07-26", 0.01),
        bar_day("2025-07-27", None, days=8),
        bar_day("2025-08-04", 0.01),
    ]
    (wide, _) = chart.day_charts(days)
    one, gap, other = wide.bars
    assert gap.kind == "unseparated"
    assert gap.width > 7 * one.width
    assert other.x == pytest.approx(one.x + 9 * (one.width / 0.76), rel=0.01)


@pytest.mark.parametrize(
    ("days", "count", "labels"),
    [
        (0.5, 4, ("26 Jul 00:00", "26 Jul 03:00")),
        (6, 8, ("26 Jul", "27 Jul")),
        (120, 8, ("1 Aug", "16 Aug")),
        (300, 8, ("Sep 2025", "Nov 2025")),
        (3000, 3, ("Jan 2026", "Jan 2027")),
    ],
)
def test_time_ticks_are_at_round_times_and_at_most_three_times_the_wanted_count(
    days: float, count: int, labels: tuple[str, ...]
) -> None:
    found = ticks.time_ticks(START_MS, START_MS + int(days * DAY_MS), count)
    assert tuple(label for _, label in found[:2]) == labels
    assert len(found) <= count * 3


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 10))
@settings(max_examples=80)
def test_value_ticks_are_inside_the_range_and_at_most_one_more_than_the_wanted_count(
    low: float, span: float, count: int
) -> None:
    found = ticks.value_ticks(low, low + span, count)
    assert len(found) <= count + 1
    step = ticks.nice_step(span, count)
    for tick in found:
        assert low - step * 1e-3 <= tick <= low + span + step * 1e-3


def test_a_whisker_draws_low_neutral_value_and_high_from_left_to_right() -> None:
    drawn = chart.whisker(0.5, -1.0, 2.0, 0.0)
    assert 0 < drawn.low_x < drawn.neutral_x < drawn.value_x < drawn.high_x < drawn.width
    assert not drawn.open_above


def test_a_whisker_without_an_upper_bound_reaches_the_edge() -> None:
    drawn = chart.whisker(3.0, 1.5, None, 1.0)
    assert drawn.open_above
    assert drawn.high_x == drawn.width


def test_a_whisker_of_a_single_point_can_be_drawn() -> None:
    assert chart.whisker(0.0, 0.0, 0.0, 0.0).value_x == 60


LABEL_FONTS = {"wide": (12, 15.5, 19.5), "narrow": (13.5, 16.5)}  # of the style sheet, largest last
EM_OF = {" ": 0.32, ":": 0.34}  # in DejaVu Sans, a wide font; digits and letters are below
EM = 0.64


def written(label: ticks.Label, font: float) -> tuple[float, float]:
    """Return the positions at which a label begins and ends in its chart."""
    size = sum(EM_OF.get(each, EM) for each in label.label) * font
    begin = label.text_x - {"start": 0.0, "middle": size / 2, "end": size}[label.anchor]
    return begin, begin + size


@given(
    st.integers(0, 400 * DAY_MS // 60_000),
    st.integers(2, 60),
    st.sampled_from([HOUR_MS // 4, HOUR_MS, 3 * HOUR_MS, DAY_MS, 9 * DAY_MS]),
)
@settings(max_examples=200)
def test_no_label_of_the_time_axis_is_cut_and_none_overlaps(
    minutes: int, count: int, step_ms: int
) -> None:
    curve = marks(*[100.0 + i for i in range(count)], step_ms=step_ms)
    later = [attrs.evolve(mark, at_ms=mark.at_ms + minutes * 60_000) for mark in curve.points]
    begun = attrs.evolve(curve, points=tuple(later))
    for drawn in chart.curve_charts(begun, (), ()):
        for font in LABEL_FONTS[drawn.frame.name]:
            spans = [written(each, font) for each in drawn.ticks_x if each.label]
            assert all(begin >= 0 and end <= drawn.frame.width for begin, end in spans)
            assert all(a[1] < b[0] for a, b in pairwise(spans))
        assert not drawn.ticks_x or any(each.label for each in drawn.ticks_x)


@pytest.mark.parametrize("equity", [9_800.0, 250_000.0, 12_345_678.0, -12_345_678.0])
def test_no_label_of_the_axis_of_money_is_cut(equity: float) -> None:
    for drawn in chart.curve_charts(marks(equity, equity * 1.1, equity), (), ()):
        assert drawn.ticks_y
        for tick in drawn.ticks_y:
            size = sum({",": 0.32}.get(each, EM) for each in tick.label) * drawn.frame.label_px
            assert drawn.frame.inner_right + chart.LABEL_LEFT + size <= drawn.frame.width
        assert drawn.end_x <= drawn.frame.inner_right


def test_labels_at_both_edges_are_drawn_inside_the_drawing() -> None:
    first, middle, last = ticks.place_labels(
        [(6.0, "27 Nov 00:00"), (500.0, "28 Nov 00:00"), (1030.0, "29 Nov 00:00")], 1040, 19.5
    )
    assert (first.anchor, first.text_x, first.at) == ("start", 0.0, 6.0)
    assert (middle.anchor, middle.text_x) == ("middle", 500.0)
    assert (last.anchor, last.text_x, last.at) == ("end", 1040.0, 1030.0)


def test_the_font_of_the_frames_is_the_largest_of_the_style_sheet() -> None:
    from tests.web.test_style import CSS

    for frame in CURVE_FRAMES:
        sizes = re.findall(rf"svg\.{frame.name} text \{{ font-size: ([\d.]+)px", CSS)
        assert frame.label_px == max(map(float, sizes)) == LABEL_FONTS[frame.name][-1]


async def test_no_label_of_the_charts_of_the_results_page_begins_left_of_its_chart(
    public: PublicSite, client: Client
) -> None:
    async with client(public) as http:
        page = (await http.get("/results")).text
    drawings = re.findall(
        r'<svg class="(wide|narrow)" viewBox="0 0 (\d+) .*?</svg>', page, re.DOTALL
    )
    assert len(drawings) == 4
    labels = re.findall(r'<text x="([\d.]+)" y="[\d.]+" text-anchor="(\w+)">([^<]+)<', page)
    assert {anchor for _, anchor, _ in labels} <= {"start", "middle", "end"}
    assert len(labels) >= 8
    for x, anchor, text in labels:
        label = ticks.Label(at=0, label=text, text_x=float(x), anchor=anchor)
        assert written(label, LABEL_FONTS["narrow"][-1])[0] >= 0, text
