"""The chart, its legend and the list have the same downtimes."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest

from kamou.core.book import events as e
from kamou.core.day import DAY_MS, HOUR_MS, MINUTE_MS
from kamou.core.kinds import RunMode
from kamou.store.database import open_writer
from kamou.store.journal import JournalWriter
from kamou.web.app import PublicSite
from kamou.web.site import Site
from tests.site_client import Client, inline
from tests.web.published_record import START_MS, equity_mark, write_record

DAYS = 3
STOPPED_MS = START_MS + DAYS * DAY_MS + 11 * HOUR_MS  # the last cycle of the record


def closed(at_ms: int) -> e.CycleClosed:
    return e.CycleClosed(
        at_ms=at_ms, cycle_at_ms=at_ms, positions=0, open_orders=0, drift=0, repaired=0
    )


async def shown(path: Path, client: Client) -> tuple[int, int, int]:
    """Return the number of downtime bands, the legend's count and the list's length."""
    site = PublicSite(path, Site(mode=RunMode.DEMO), runner=inline)
    async with client(site) as http:
        page = (await http.get("/results")).text
        document = (await http.get("/results.json")).json()
    site.close()
    total: int = document["downtime_total"]
    assert f"downtime ({total})" in page
    assert page.count('data-label="What">downtime<') == len(document["downtime"])
    band = re.search(r'<path class="band down" d="([^"]+)"', page)
    return band[1].count("M") if band else 0, total, len(document["downtime"])


@pytest.mark.parametrize("before", [False, True], ids=["the first downtime", "not the first"])
async def test_chart_legend_and_list_have_the_same_count_of_downtime_after_a_start(
    tmp_path: Path, client: Client, before: bool
) -> None:
    path = tmp_path / "kamou.sqlite3"
    write_record(path, days=DAYS, halt_day=None, outage_day=1 if before else None, down_days=2)
    stopped_at_ms = STOPPED_MS + (2 * DAY_MS if before else 0)
    started_at_ms = stopped_at_ms + 9 * HOUR_MS
    with closing(open_writer(path, durable=False)) as connection:
        # A cycle reads the account and closes seconds later.
        first = [equity_mark(started_at_ms), closed(started_at_ms + 5_000)]
        JournalWriter(connection, run_number=3).append(first)
        assert await shown(path, client) == (int(before),) * 3
        JournalWriter(connection, run_number=3).append([equity_mark(started_at_ms + 5 * MINUTE_MS)])
    assert await shown(path, client) == (1 + before,) * 3


async def test_an_interval_of_the_curve_that_two_downtimes_share_keeps_the_band_of_the_earlier_one(
    tmp_path: Path, client: Client
) -> None:
    path = tmp_path / "kamou.sqlite3"
    write_record(path, days=DAYS, halt_day=None, outage_day=None)
    ended_ms = STOPPED_MS + 5 * HOUR_MS + MINUTE_MS
    again_ms = ended_ms + 9 * HOUR_MS
    known = [
        equity_mark(ended_ms - 1),
        closed(ended_ms),
        closed(ended_ms + MINUTE_MS),
        equity_mark(again_ms),
    ]
    with closing(open_writer(path, durable=False)) as connection:
        JournalWriter(connection, run_number=3).append(known)
        before = await band_of(path, client)
        JournalWriter(connection, run_number=3).append([closed(again_ms + 5_000)])
    assert before
    assert await band_of(path, client) == before


async def band_of(path: Path, client: Client) -> str:
    """Return the path of the downtime bands in the first chart."""
    site = PublicSite(path, Site(mode=RunMode.DEMO), runner=inline)
    async with client(site) as http:
        found = re.search(r'<path class="band down" d="([^"]+)"', (await http.get("/results")).text)
    site.close()
    return found[1] if found else ""
