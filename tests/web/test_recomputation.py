"""Every figure of the public record equals an independent recomputation of it."""

from __future__ import annotations

from contextlib import closing
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from kamou.core.codes import StateReason
from kamou.core.kinds import RunMode
from kamou.messages.governor import Flatten, Halt, Resume
from kamou.store import as_of
from kamou.store.database import open_reader
from kamou.venue.market.recorded import RecordedMarket
from kamou.web.app import PublicSite
from kamou.web.site import Site
from tests.site_client import Client, inline
from tests.web.histories import STEP_MS, History, trade
from tests.web.ledger_by_definition import Ledger, MarkAt
from tests.web.page_numerals import (
    days_numbers,
    expected_numbers,
    front_numbers,
    numbers_of,
    trades_numbers,
)
from tests.web.page_of_trade import TradePage
from tests.web.raw_events import Plans
from tests.web.recomputation import differences
from tests.web.recomputed_trades import fill_differences, interval_differences, trade_differences

DRAWN = range(100, 103)
AS_JSON = {"accept": "application/json"}
HISTORIES = (
    History(name="one day and parts", seed=1, runs=((6.3, 53.0),)),
    History(name="thirteen complete days and parts", seed=2, runs=((5.0, 14 * 24 + 5.0),)),
    History(
        name="fourteen complete days and parts",
        seed=3,
        runs=((20.0, 15 * 24 + 1.5),),
        moves=((75.31, 1500), (200.77, -2500)),
    ),
    History(name="begun at midnight", seed=4, runs=((0.0, 30.0),)),
    History(
        name="deposits and withdrawals",
        seed=5,
        runs=((9.0, 96.0),),
        moves=((12.0, 700), (30.2, 1000), (37.7, -400), (60.0, -3000)),
    ),
    History(
        name="transfers between the reads",
        seed=11,
        runs=((9.0, 96.0),),
        moves=(
            (9.0, 250),  # stamped as the first equity of the record
            (12.13, 700),
            (30.41, 1000),
            (30.47, -400),  # in the same bar
            (48.0, 500),  # at 00:00:00.000
            (60.07, -3000),
            (70.09, 300),
            (70.09, -100),  # at the same time
            (71.99999, 800),  # 36 ms before 00:00
        ),
    ),
    History(
        name="transfers while stopped",
        seed=12,
        runs=((3.0, 42.1), (54.2, 80.0)),
        moves=((44.3, 1000), (48.0, 300), (50.77, -2000)),
    ),
    History(name="stopped across a midnight", seed=6, runs=((3.0, 42.1), (54.2, 80.0))),
    History(name="stopped across two midnights", seed=7, runs=((3.0, 42.1), (78.1, 101.0))),
    History(
        name="killed across a midnight",
        seed=8,
        runs=((3.0, 47.97), (48.4, 73.0)),
        killed=True,
    ),
    History(
        name="halted for a whole day, flattened in the last minute of another",
        seed=9,
        runs=((3.0, 100.0),),
        commands=(
            (20.0, Halt(reason=StateReason.OPERATOR_HALT, note="holiday")),
            (76.0, Resume(note="back")),
            (
                95.9938,
                Flatten(reason=StateReason.OPERATOR_FLATTEN, note="for the night"),
            ),  # at 23:59:37
            (96.6, Resume(note="rested")),
        ),
    ),
    History(
        name="flattened",
        seed=10,
        runs=((3.0, 50.0),),
        commands=((49.9, Flatten(reason=StateReason.OPERATOR_FLATTEN, note="enough")),),
    ),
    History(
        name="restarted with lower limits",
        seed=13,
        runs=((3.0, 14.0), (14.1, 26.0)),
        lowered=True,
        commands=((20.0, Resume(note="looked at")),),
    ),
)


def drawn_history(seed: int) -> History:
    """Draw two or three runs with stops over up to two midnights, and transfers."""
    chance = Random(seed)
    hour, runs = chance.uniform(0, 23), []
    for _ in range(chance.randint(2, 3)):
        end = hour + chance.uniform(8, 30)
        runs.append((round(hour, 2), round(end, 2)))
        hour = end // 24 * 24 + 24 * chance.randint(0, 2) + chance.uniform(0.1, 20)
        hour = max(hour, end + 0.1)
    times = sorted(chance.uniform(runs[0][0], runs[-1][1]) for _ in range(chance.randint(2, 7)))
    moves = tuple((at, chance.choice([900, 250, -120, -1_500])) for at in times)
    killed = chance.random() < 0.5
    return History(name=f"drawn {seed}", seed=seed, runs=tuple(runs), moves=moves, killed=killed)


def marks(drawn: RecordedMarket) -> MarkAt:
    """Return the venue's marks: the market's price, rounded to the tick."""
    columns = {symbol: n for n, symbol in enumerate(drawn.symbols)}
    ticks = {each.symbol: each.tick for each in drawn.instruments}

    def mark_at(symbol: str, at_ms: int) -> Decimal:
        price = Decimal(repr(float(drawn.prices(at_ms)[columns[symbol]])))
        tick = ticks[symbol]
        return (price / tick).quantize(Decimal(1), ROUND_HALF_EVEN) * tick

    return mark_at


@pytest.fixture(params=[*HISTORIES, *map(drawn_history, DRAWN)], ids=lambda history: history.name)
def traded(request: pytest.FixtureRequest, tmp_path: Path) -> RecordedMarket:
    """Return the market of a traded history, whose files are in ``tmp_path``."""
    return trade(request.param, tmp_path)


async def test_every_figure_equals_an_independent_recomputation_from_the_venues_file(
    traded: RecordedMarket, tmp_path: Path, client: Client
) -> None:
    journal = tmp_path / "kamou.sqlite3"
    site = PublicSite(journal, Site(mode=RunMode.DEMO, assumed_live=True), runner=inline)
    async with client(site) as http:
        document = (await http.get("/results.json")).json()
        pages = [(await http.get(path)).text for path in ("/results", "/", "/days", "/trades")]
        results, front, day_rows, trade_rows = pages
        days = (await http.get("/api/v1/public/days", params={"limit": 200})).json()
        listed = await _listed_trades(http)
        single = [
            (await http.get(f"/trades/{row['trade_id']}", headers=AS_JSON)).json()
            for row in listed[::7]
        ]
        trade_pages = [(await http.get(f"/trades/{row['trade_id']}")).text for row in listed[::7]]
    ledger = Ledger(tmp_path / "exchange.sqlite3", marks(traded))
    plans = Plans(journal)
    assert document["trades_total"] == len(listed) > 5
    assert differences(document, ledger, plans, period_ms=STEP_MS) == []
    assert trade_differences(listed, ledger, plans) == []
    assert interval_differences(document, listed) == []
    assert fill_differences(single, ledger) == []
    by_place = {(each.symbol, each.closed_at_ms): each for each in ledger.trades(plans.snapshot_ms)}
    for row, page in zip(listed[::7], trade_pages, strict=True):
        right = TradePage(by_place[row["symbol"], row["closed_at_ms"]], ledger, plans)
        assert numbers_of(page) == right.numbers()
    assert numbers_of(results) == expected_numbers(document)
    assert numbers_of(front) == front_numbers(document, plans)
    assert numbers_of(day_rows) == days_numbers(document)
    symbols = sorted({row["symbol"] for row in listed})
    assert numbers_of(trade_rows) == trades_numbers(listed, symbols)
    assert days["days"] == document["days"][::-1]
    assert (days["as_of_ms"], days["ended_total"]) == (
        document["as_of_ms"],
        document["days_total"] - 1,
    )
    with closing(open_reader(journal)) as reader:
        drawn = as_of.curve_as_of(reader, as_of.find_instant(reader), (), ()).marks
    moved = sum(mark.amount for mark in drawn if mark.kind == "transfer")
    assert Decimal(document["net_deposits"]) == moved, (
        "the curve shows the transfers that are counted"
    )


async def _listed_trades(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Return the trades of all JSON pages of ``/trades``, oldest first."""
    found: list[dict[str, Any]] = []
    address = "/trades"
    while address:
        page = (await http.get(address, headers=AS_JSON)).json()
        found += page["trades"]
        address = page["older_url"]
    assert page["total"] == len(found)
    return found[::-1]
