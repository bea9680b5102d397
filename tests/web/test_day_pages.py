"""``/days``, ``/api/v1/public/days``, the size of pages, and daily figures."""

from __future__ import annotations

import re
from contextlib import closing
from decimal import Decimal as D
from html import unescape
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kamou.core.book.events import DayOpened, EquityRecorded, StateChanged
from kamou.core.codes import StateReason
from kamou.core.day import DAY_MS
from kamou.core.model import Figure, TradingState
from kamou.core.record import performance
from kamou.store import public_queries
from kamou.store.database import open_reader, open_writer
from kamou.store.journal import JournalWriter
from kamou.web import daily_figures
from kamou.web.app import PublicSite
from kamou.web.daily_figures import Memo
from kamou.web.site import Site
from tests.site_client import Client, inline
from tests.web.published_record import START_MS, equity_mark, write_record

API = "/api/v1/public/days"
BYTES_MAX = 100_000


async def all_days(app: PublicSite, client: Client, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    address: str | None = f"{API}?limit={limit}"
    async with client(app) as http:
        while address is not None:
            document = (await http.get(address)).json()
            assert len(document["days"]) <= limit
            found += document["days"]
            before = document["next_before"]
            address = None if before is None else f"{API}?limit={limit}&before={before}"
    return found


@pytest.mark.parametrize("limit", [1, 7, 41, 200])
async def test_the_pages_of_the_public_api_list_every_day_once(
    public: PublicSite, client: Client, limit: int
) -> None:
    days = await all_days(public, client, limit)
    async with client(public) as http:
        results = (await http.get("/results.json")).json()
    assert days == results["days"][::-1]
    assert len(days) == 41


async def test_the_pages_of_days_show_every_day_once_and_link_back(
    public: PublicSite, client: Client
) -> None:
    seen, address = [], "/days"
    async with client(public) as http:
        while address:
            page = (await http.get(address)).text
            seen.append(re.findall(r'<tr[^>]*><th scope="row">(.*?)</th>', page))
            older = re.search(r'rel="next" href="([^"]+)"', page)
            address = unescape(older[1]) if older else ""
        newer = re.search(r'rel="prev" href="([^"]+)"', page)
        assert newer is not None
        assert unescape(newer[1]) == "/days"
    assert [len(part) for part in seen] == [31, 10]
    rows = [row for part in seen for row in part]
    assert len(set(rows)) == 41
    assert "so far" in rows[0]
    assert any("10 Aug 2025 to 12 Aug 2025" in row and "not separable" in row for row in rows)
    assert "41 rows in all" in page


@pytest.mark.parametrize(
    "address",
    [
        f"{API}?before=yesterday",
        f"{API}?before=20250801",
        f"{API}?before=2025-W31-5",
        f"{API}?before=2025-02-30",
        f"{API}?limit=0",
        f"{API}?limit=201",
        f"{API}?limit=-1",
        f"{API}?limit=\N{ARABIC-INDIC DIGIT THREE}",
        "/days?before=x",
    ],
)
async def test_an_invalid_value_of_a_parameter_of_days_is_a_bad_request(
    public: PublicSite, client: Client, address: str
) -> None:
    async with client(public) as http:
        answer = await http.get(address)
    assert answer.status_code == 400
    assert "Not a valid address" in answer.text


async def test_no_day_is_before_1999_and_every_ended_day_is_before_2999(
    public: PublicSite, client: Client
) -> None:
    async with client(public) as http:
        assert (await http.get(f"{API}?before=1999-01-01")).json()["days"] == []
        late = (await http.get(f"{API}?before=2999-01-01&limit=200")).json()["days"]
        assert len(late) == 40, "every row that has ended, and not the open one"
        assert (await http.get("/days?before=1999-01-01")).status_code == 200


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a record of about 700 days, 597 with long figures and long reasons of a halt."""
    path = tmp_path_factory.mktemp("crowded") / "kamou.sqlite3"
    write_record(path, days=100, trades_per_day=8, flow_day=3, down_days=2)
    chance = Random(1)
    with closing(open_writer(path, durable=False)) as connection:
        writer = JournalWriter(connection, run_number=3)
        for day in range(103, 700):
            at_ms = START_MS + day * DAY_MS
            name = f"{day}"
            equity = D(chance.randint(10**19, 10**20)).scaleb(-12)
            opened = DayOpened(at_ms=at_ms + 6_000, day=f"x{name}", equity=equity)
            between = [
                EquityRecorded(
                    at_ms=at_ms + hour * 3_600_000,
                    equity=equity + D(chance.randint(-(10**17), 10**17)).scaleb(-12),
                    wallet_balance=equity,
                    unrealized_pnl=D(0),
                    margin_used=D(0),
                    open_risk=D(0),
                    net_deposits=D(0),
                )
                for hour in range(1, 24, 3)
            ]
            states = (TradingState.ACTIVE, TradingState.REDUCE_ONLY)
            halts = [
                StateChanged(
                    at_ms=at_ms + (i + 1) * 1_000_000,
                    before=states[i],
                    after=states[1 - i],
                    reason=StateReason.PROTECTION_FAILED,
                    figures=(Figure(name="note", value="a note of the longest kind " * 8),),
                )
                for i in (0, 1)
            ]
            writer.append([opened, *between, *halts])
    return path


async def test_no_page_of_figures_is_larger_than_a_hundred_kilobytes(
    crowded: Path, demo: Site, client: Client
) -> None:
    with closing(open_reader(crowded)) as reader:
        trade = reader.execute("SELECT trade_id FROM trade LIMIT 1").fetchone()[0]
        assert len(public_queries.all_days(reader)) > 600
    async with client(PublicSite(crowded, demo, runner=inline)) as http:
        sizes = {
            path: len((await http.get(path)).content)
            for path in (
                "/",
                "/results",
                "/results.json",
                "/trades",
                "/days",
                f"{API}?limit=200",
                f"/trades/{trade}",
            )
        }
    assert all(size > 1_000 for size in sizes.values())
    assert not {path: size for path, size in sizes.items() if size > BYTES_MAX}


async def test_results_show_ninety_days_twelve_months_and_twenty_halts_with_totals(
    crowded: Path, demo: Site, client: Client
) -> None:
    async with client(PublicSite(crowded, demo, runner=inline)) as http:
        found = (await http.get("/results.json")).json()
        page = (await http.get("/results")).text
    assert len(found["days"]) == 90
    assert found["days_total"] > 600
    assert len(found["months"]) == 12
    assert len(found["halts"]) == 20
    assert found["halts_total"] == 598
    assert "halted (598)" in page
    assert "The newest 20 of 598 halts" in page
    assert f"The newest 90 of {found['days_total']}" in page


# --- once a day ------------------------------------------------------------------------------


def marked(at_ms: int, equity: str = "12100") -> EquityRecorded:
    return equity_mark(at_ms, D(equity))


def test_intervals_are_computed_when_a_day_ends_and_not_at_each_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kamou.sqlite3"
    write_record(path, days=20)
    made: list[object] = []
    real = performance.day_statistics

    def counted(days: performance.DayReturns) -> performance.DayStatistics:
        made.append(days)
        return real(days)

    monkeypatch.setattr(daily_figures, "day_statistics", counted)
    memo = Memo()
    with closing(open_writer(path)) as connection:
        writer = JournalWriter(connection, run_number=2)
        first = memo.daily(connection)
        for minutes in range(5):
            at_ms = START_MS + 20 * DAY_MS + DAY_MS // 2 + minutes * 60_000
            writer.append([marked(at_ms)])
            assert memo.daily(connection) is first
        assert len(made) == 1
        opened = DayOpened(at_ms=START_MS + 21 * DAY_MS + 6_000, day="x", equity=D(12_000))
        writer.append([opened])
        after = memo.daily(connection)
        assert after.complete == first.complete + 1
        assert after.as_of_ms == START_MS + 21 * DAY_MS
        assert len(made) == 2


async def test_intervals_of_return_and_sharpe_are_near_a_bootstrap_of_the_published_days(
    public: PublicSite, client: Client
) -> None:
    days = [d for d in (await all_days(public, client, 200))[::-1] if d["complete"]]
    async with client(public) as http:
        figures = (await http.get("/results.json")).json()["performance"]
    returns = [day["return"] for day in days]
    chance, n = Random(5), len(days)
    totals, ratios = [], []
    for _ in range(4_000):
        drawn: list[float] = []
        at = chance.randrange(n)
        while len(drawn) < n:
            drawn.append(returns[at])
            at = chance.randrange(n) if chance.random() < n ** (-1 / 3) else (at + 1) % n
        growth = 1.0
        for one in drawn:
            growth *= 1 + one
        totals.append(growth - 1)
        mean = sum(drawn) / n
        deviation = (sum((one - mean) ** 2 for one in drawn) / (n - 1)) ** 0.5
        ratios.append(mean / deviation * 365**0.5)
    for name, values in (("return_twr", totals), ("sharpe", ratios)):
        values.sort()
        low, high = values[100], values[-100]
        width = high - low
        assert figures[name]["interval"]["n"] == n == 39
        assert figures[name]["low"] == pytest.approx(low, abs=0.06 * width), name
        assert figures[name]["high"] == pytest.approx(high, abs=0.06 * width), name
