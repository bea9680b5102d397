"""The curve's start, deposits and stretches, and the maximum drawdown."""

from __future__ import annotations

import re
from contextlib import closing
from decimal import Decimal as D
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kamou.core.book import events as e
from kamou.core.day import DAY_MS, HOUR_MS, MINUTE_MS
from kamou.core.kinds import IncomeKind
from kamou.core.model import Income
from kamou.store import as_of
from kamou.store.database import open_reader, open_writer
from kamou.store.journal import JournalWriter
from kamou.store.public_queries import query_curve as whole_curve
from kamou.web.app import PublicSite
from kamou.web.chart_frames import CURVE_FRAMES
from kamou.web.site import Site
from tests.site_client import Client, inline
from tests.web.published_record import START_MS, equity_mark, started_with

STEP_MS = 30 * MINUTE_MS
DAYS = 18
TRANSFERS = (
    (5 * HOUR_MS, D(1000)),
    (9 * DAY_MS + HOUR_MS, D(1000)),
    (9 * DAY_MS + 7 * HOUR_MS, D(-400)),
)


def equities() -> list[tuple[int, D]]:
    """Return (at_ms, equity): 10,000, then about 9,960, with three transfers."""
    chance, made, equity = Random(5), [(START_MS, D(10_000))], D(9_960)
    for i in range(1, DAYS * DAY_MS // STEP_MS):
        at_ms = START_MS + i * STEP_MS
        equity += D(chance.randint(-60, 60))
        equity += sum(
            (amount for after, amount in TRANSFERS if at_ms - STEP_MS < START_MS + after <= at_ms),
            D(0),
        )
        made.append((at_ms, equity))
    return made


def events() -> list[e.Event]:
    made: list[e.Event] = [started_with(START_MS)]
    for at_ms, equity in equities():
        for number, (after, amount) in enumerate(TRANSFERS):
            if at_ms - STEP_MS < START_MS + after <= at_ms:
                income = Income(
                    income_id=f"t{number}",
                    kind=IncomeKind.TRANSFER,
                    symbol="",
                    amount=amount,
                    at_ms=START_MS + after,
                )
                made.append(e.IncomeRecorded(at_ms=START_MS + after, income=income))
        made.append(equity_mark(at_ms, equity))
        if at_ms % DAY_MS == 0:
            day = START_MS // DAY_MS
            name = f"2025-{'07' if at_ms // DAY_MS - day < 6 else '08'}"
            number = at_ms // DAY_MS - day
            name += f"-{26 + number:02d}" if number < 6 else f"-{number - 5:02d}"
            made.append(e.DayOpened(at_ms=at_ms, day=name, equity=equity))
    return made


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("moved") / "kamou.sqlite3"
    with closing(open_writer(path, durable=False)) as connection:
        JournalWriter(connection, run_number=1).append(events())
    return path


async def shown(path: Path, demo: Site, client: Client) -> tuple[dict[str, Any], str]:
    async with client(PublicSite(path, demo, runner=inline)) as http:
        return (await http.get("/results.json")).json(), (await http.get("/results")).text


async def test_the_dashed_line_is_the_first_equity_and_the_curve_begins_there(
    moved: Path, demo: Site, client: Client
) -> None:
    found, page = await shown(moved, demo, client)
    assert found["equity_start"] == "10000"
    for frame in CURVE_FRAMES:
        drawing = page.partition(f'<svg class="{frame.name}"')[2].partition("</svg>")[0]
        start_y = re.search(r'<line class="start" [^>]*y1="([\d.]+)"', drawing)
        line = re.search(r'<path class="line" d="M([\d.]+),([\d.]+) ', drawing)
        assert start_y is not None
        assert line is not None
        assert float(line[1]) == frame.left
        assert line[2] == start_y[1]
        # 10,000 on the scale of the labels, which were computed apart from it
        ticks = re.findall(r'<text x="\d+" y="([\d.]+)">([\d,]+)</text>', drawing)
        (y0, v0), (y1, v1) = [(float(y) - 4, float(v.replace(",", ""))) for y, v in ticks[:2]]
        at = y0 + (10_000 - v0) * (y1 - y0) / (v1 - v0)
        assert float(start_y[1]) == pytest.approx(at, abs=0.2)


async def test_each_deposit_and_withdrawal_is_drawn_at_its_own_time(
    moved: Path, demo: Site, client: Client
) -> None:
    found, page = await shown(moved, demo, client)
    assert [{"at_ms": each["at_ms"], "amount": each["amount"]} for each in found["transfers"]] == [
        {"at_ms": START_MS + after, "amount": str(amount)} for after, amount in TRANSFERS
    ]
    assert found["transfers_total"] == 3
    wide = page.partition('<svg class="wide"')[2].partition("</svg>")[0]
    drawn = re.findall(r'<line class="marker transfer" x1="([\d.]+)"[^>]*><title>([^<]*)', wide)
    assert [title for _, title in drawn] == [
        "Deposit, 2025-07-26 05:00 UTC: 1,000.00 USDT",
        "Deposit, 2025-08-04 01:00 UTC: 1,000.00 USDT",
        "Withdrawal, 2025-08-04 07:00 UTC: 400.00 USDT",
    ]
    frame = CURVE_FRAMES[0]
    span = equities()[-1][0] - START_MS
    for (x, _), (after, _) in zip(drawn, TRANSFERS, strict=True):
        at = frame.left + (frame.inner_right - frame.left) * after / span
        assert float(x) == pytest.approx(at, abs=0.1)


async def test_the_maximum_drawdown_is_over_all_snapshots_and_has_its_dates(
    moved: Path, demo: Site, client: Client
) -> None:
    found, page = await shown(moved, demo, client)
    index, peak, worst = 1.0, (START_MS, 1.0), (0.0, 0, 0)
    marks = equities()
    for (before_ms, before), (at_ms, equity) in pairwise(marks):
        own = sum(a for after, a in TRANSFERS if before_ms < START_MS + after <= at_ms)
        index *= float((equity - own) / before)
        if index >= peak[1]:
            peak = (at_ms, index)
        worst = min(worst, (index / peak[1] - 1, peak[0], at_ms))
    figures = found["performance"]
    assert isinstance(figures, dict)
    fall = figures["max_drawdown_snapshots"]
    assert fall["value"] == pytest.approx(worst[0], rel=1e-9)
    assert (fall["peak_ms"], fall["trough_ms"], fall["n"]) == (*worst[1:], len(marks))
    assert fall["value"] < figures["max_drawdown"]["value"]
    shown_as = f"{abs(worst[0]) * 100:.2f}%"
    assert f"Maximum drawdown: \N{MINUS SIGN}{shown_as}, over all equity snapshots, from" in page


async def test_each_point_of_the_curve_has_the_low_and_the_high_since_the_point_before(
    moved: Path, demo: Site, client: Client
) -> None:
    found, _ = await shown(moved, demo, client)
    curve = found["equity_curve"]
    assert isinstance(curve, list)
    marks, begin = equities(), 0
    for point in curve:
        inside = [equity for at_ms, equity in marks if begin < at_ms <= point["at_ms"]]
        assert (D(point["low"]), D(point["high"])) == (min(inside), max(inside))
        begin = point["at_ms"]


async def test_a_withdrawal_after_a_days_last_snapshot_is_no_drawdown_of_the_next_day(
    tmp_path: Path, demo: Site, client: Client
) -> None:
    midnight, path = START_MS + DAY_MS, tmp_path / "kamou.sqlite3"
    out = Income(
        income_id="out",
        kind=IncomeKind.TRANSFER,
        symbol="",
        amount=D(-4000),
        at_ms=midnight - 2 * MINUTE_MS,
    )
    with closing(open_writer(path, durable=False)) as connection:
        history = [
            started_with(START_MS),
            equity_mark(START_MS, D(10_000)),
            e.DayOpened(at_ms=START_MS, day="2025-07-26", equity=D(10_000)),
            equity_mark(midnight - 5 * MINUTE_MS + 1_000, D(10_000)),
            e.IncomeRecorded(at_ms=out.at_ms, income=out),
            equity_mark(midnight + 1_000, D(6_000)),
            e.DayOpened(at_ms=midnight + 1_000, day="2025-07-27", equity=D(6_000)),
            equity_mark(midnight + HOUR_MS, D(5_940)),
        ]
        JournalWriter(connection, run_number=1).append(history)
    found, _ = await shown(path, demo, client)
    figures = found["performance"]
    assert isinstance(figures, dict)
    fall = figures["max_drawdown_snapshots"]
    assert fall["value"] == pytest.approx(-0.01)
    assert (fall["peak_ms"], fall["trough_ms"]) == (midnight + 1_000, midnight + HOUR_MS)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("begin_ms", "listed"), [(START_MS, ["30", "7"]), (START_MS + HOUR_MS, ["7"])]
)
async def test_the_listed_and_counted_transfers_are_those_of_the_net_deposits(
    begin_ms: int, listed: list[str], late: bool, tmp_path: Path, demo: Site, client: Client
) -> None:
    """Transfers before the record began, or in its first equity, are left out."""
    path = tmp_path / "kamou.sqlite3"
    paid_in = ((-MINUTE_MS, D(9_000)), (0, D(30)), (1, D(7)))
    with closing(open_writer(path, durable=False)) as connection:
        history: list[e.Event] = [started_with(begin_ms)]
        for number, (after, amount) in enumerate(paid_in):
            income = Income(
                income_id=str(number),
                kind=IncomeKind.TRANSFER,
                symbol="",
                amount=amount,
                at_ms=begin_ms + after,
            )
            history.append(e.IncomeRecorded(at_ms=begin_ms, income=income))
        history += [equity_mark(begin_ms, D(10_000)), equity_mark(begin_ms + HOUR_MS, D(10_007))]
        if late:  # the venue lists them after the record has begun
            history[1:] = [*history[-2:], *history[1:-2]]
        JournalWriter(connection, run_number=1).append(history)
    found, _ = await shown(path, demo, client)
    transfers = found["transfers"]
    assert isinstance(transfers, list)
    assert [each["amount"] for each in transfers] == listed
    assert found["transfers_total"] == len(listed)
    assert D(str(found["net_deposits"])) == sum(map(D, listed))
    with closing(open_reader(path)) as reader:
        drawn = [
            as_of.curve_as_of(reader, as_of.find_instant(reader), (), ()).marks,
            whole_curve(reader).marks,
        ]
    for marks in drawn:
        moved = sum(mark.amount for mark in marks if mark.kind == "transfer")
        assert moved == sum(map(D, listed)), "the curve has other transfers than those counted"
