"""Tests of days without a run: the record agrees with the venue's own file."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal as D
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from kamou.core.book.events import DayOpened
from kamou.core.day import HOUR_MS, MINUTE_MS
from kamou.core.kinds import MarketEdges
from kamou.data_directory.folder import DataDirectory
from kamou.exchange import embedded
from kamou.exchange.base import Capabilities
from kamou.settings.config import DemoSettings, Settings
from kamou.venue.market.generator import GeneratedMarket
from tests.runs.venue_ledger import DAY, Ledger, day_name
from tests.small_demo import NOW_MS, journal, of_kind, serving, settings

NO_EDGES = DemoSettings(seed=2, symbols=20, days=2, warmup_days=1, edges=MarketEdges.NONE)
STOPPED_MS = NOW_MS + 6 * HOUR_MS + 5 * MINUTE_MS  # at 18:05
LATER_MS = STOPPED_MS + 36 * HOUR_MS
MIDNIGHT_MS = LATER_MS - LATER_MS % DAY


async def record_days(data_dir: Path) -> tuple[Settings, dict[str, Any]]:
    """Trade two days, stop at 18:05, start 36 h later; return settings and results."""
    of = settings(data_dir, demo=NO_EDGES)
    async with serving(of, now_ms=STOPPED_MS) as demo:
        await demo.ready()
    async with serving(of, now_ms=LATER_MS) as demo:
        await demo.ready()
        while not of_kind(journal(demo.data_dir), DayOpened)[-1].at_ms > LATER_MS:  # noqa: ASYNC110 - by the file
            await trio.sleep(0.1)
        document = (await demo.get("/results.json")).json()
        document["page"] = (await demo.get("/days")).text
    return of, document


def read_ledger(of: Settings) -> tuple[Ledger, Callable[[str, int], D]]:
    """Return the ledger of the exchange's file, and a function for prices."""
    reached_ms = STOPPED_MS - STOPPED_MS % (of.cycle.period_s * 1000)
    market = GeneratedMarket(
        seed=of.demo.seed,
        origin_ms=reached_ms - (of.demo.days + of.demo.warmup_days) * DAY,
        symbols=of.demo.symbols,
        step_ms=of.demo.bar_s * 1000,
    )
    sizes = {each.symbol: each.contract_size for each in market.instruments}

    def mark(symbol: str, at_ms: int) -> D:
        bars = market.bars(300_000, at_ms - 300_000, at_ms)
        return D(repr(float(bars.close[-1][market.symbols.index(symbol)])))

    return Ledger.read(DataDirectory(of.data_dir).exchange, sizes, D(10_000)), mark


async def test_days_while_nothing_ran_are_recorded_as_the_venues_file_has_them(
    tmp_path: Path,
) -> None:
    of, later = await record_days(tmp_path)
    days = later["days"]
    names = [day_name(MIDNIGHT_MS - n * DAY) for n in (2, 1, 0)]
    assert [each["day"] for each in days[-3:]] == names
    assert [bool(each["start_rebuilt_from"]) for each in days[-3:]] == [False, True, True]
    assert (
        later["page"].count(">rebuilt<") == 3
    )  # the third is the day that ended at the first rebuilt midnight
    ledger, mark = read_ledger(of)
    for n, shown in enumerate(reversed(days[1:-1]), 1):
        from_ms = MIDNIGHT_MS - n * DAY
        expected = ledger.day(from_ms, from_ms + DAY, mark)
        assert (shown["day"], shown["complete"]) == (day_name(from_ms), True)
        for field in ("equity_start", "equity_end", "net_deposits", "fees", "funding", "trades"):
            assert D(shown[field]) == getattr(expected, field), (shown["day"], field)
        assert D(shown["pnl"]) == expected.change
    missed = ledger.day(MIDNIGHT_MS - DAY, MIDNIGHT_MS, mark)
    assert missed.change, "the positions of this date change in value on the day between"
    assert missed.trades
    assert sum(D(each["pnl"]) for each in days) == D(days[-1]["equity_end"]) - 10_000
    assert sum(each["trades"] for each in days) == len(ledger.closes())
    # The governor counts from the same equity.
    today = of_kind(journal(DataDirectory(tmp_path)), DayOpened)[-1]
    assert today.opening == ledger.equity(MIDNIGHT_MS, mark)


async def test_days_older_than_the_venues_lists_are_one_row_without_a_return(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The venue's lists reach back 12 hours, to the second of the two midnights only."""
    short = partial(Capabilities, history_ms=12 * HOUR_MS)
    monkeypatch.setattr(embedded, "Capabilities", short)
    of, later = await record_days(tmp_path)
    stretch, today = later["days"][-2:]
    first, last = (day_name(MIDNIGHT_MS - n * DAY) for n in (2, 1))
    assert (stretch["day"], stretch["last_day"]) == (first, last)
    assert (stretch["separable"], stretch["complete"], stretch["return"]) == (False, False, None)
    assert (today["day"], today["start_rebuilt_from"]) == (
        day_name(MIDNIGHT_MS),
        "last_price_bars",
    )
    ledger, mark = read_ledger(of)
    expected = ledger.day(MIDNIGHT_MS - 2 * DAY, MIDNIGHT_MS, mark)
    assert D(stretch["pnl"]) == expected.change
    assert stretch["trades"] == expected.trades
    assert sum(D(each["pnl"]) for each in later["days"]) == D(today["equity_end"]) - 10_000
