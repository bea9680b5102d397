from __future__ import annotations

from decimal import Decimal as D

import pytest

from kamou.core.kinds import ExitReason
from kamou.web import format as fmt

M = fmt.MINUS


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (fmt.money(D("12345.605")), "12,345.60"),
        (fmt.money(D("-0.75"), signed=True), f"{M}0.75"),
        (fmt.money(D("3.2"), signed=True), "+3.20"),
        (fmt.money(D("0"), signed=True), "0.00"),
        (fmt.money(D("-0.001")), "0.00"),
        (fmt.money(None), fmt.DASH),
        (fmt.money(9400.0, places=0), "9,400"),
        (fmt.percent(0.01234, signed=True), "+1.23%"),
        (fmt.percent(-0.5, places=0), f"{M}50%"),
        (fmt.percent(-0.000001), "0.00%"),
        (fmt.percent(None), fmt.DASH),
        (fmt.number(1.005, places=1), "1.0"),
        (fmt.number(None), fmt.DASH),
        (fmt.exact(D("100.500")), "100.5"),
        (fmt.exact(D("1E+3")), "1,000"),
        (fmt.exact(D("-0.00001230")), f"{M}0.0000123"),
        (fmt.exact(None), fmt.DASH),
        (fmt.feature(-2.3456789), f"{M}2.34568"),
        (fmt.moment(1_760_130_000_000), "2025-10-10 21:00"),
        (fmt.moment(None), fmt.DASH),
        (fmt.moment_exact(1_760_130_002_150), "2025-10-10 21:00:02.150"),
        (fmt.moment_exact(None), fmt.DASH),
        (fmt.iso(1_760_130_000_000), "2025-10-10T21:00:00Z"),
        (fmt.date(1_760_130_000_000), "10 October 2025"),
        (fmt.day_name("2025-10-10"), "10 Oct 2025"),
        (fmt.weekday("2025-10-10"), "Fri"),
        (fmt.duration(None), "still"),
        (fmt.duration(2_500), "2.5 s"),
        (fmt.duration(12 * 60_000), "12 min"),
        (fmt.duration(150 * 60_000), "2 h 30 min"),
        (fmt.duration(24 * 3_600_000), "1 d"),
        (fmt.duration(28 * 3_600_000), "1 d 4 h"),
        (fmt.words("DAY_LOSS_LIMIT"), "day loss limit"),
        (fmt.exit_of(ExitReason.ADL, None), "ended by ADL"),
        (fmt.exit_of(ExitReason.TIME_LIMIT, None), "ended by time limit"),
        (fmt.state("reduce_only"), "no new trades"),
        (fmt.state("some_later_one"), "some later one"),
    ],
)
def test_figures_times_and_codes_are_shown_in_their_formats(shown: str, expected: str) -> None:
    assert shown == expected


def test_a_day_begins_at_midnight_utc() -> None:
    assert fmt.day_ms("2025-07-26") == 1_753_488_000_000
