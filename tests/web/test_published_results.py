from __future__ import annotations

import math
from decimal import Decimal as D
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kamou.core.book.events import DayOpened
from kamou.core.day import DAY_MS
from kamou.core.kinds import RunMode
from kamou.store.database import open_writer
from kamou.store.journal import JournalWriter
from kamou.store.projected_curve import POINTS_MAX
from kamou.web.app import PublicSite
from kamou.web.format import day_ms
from kamou.web.site import Site
from tests.site_client import Client, inline
from tests.web.published_record import START_MS, equity_mark, write_record

PAGES = ("/", "/results", "/strategies", "/trades", "/days", "/how-it-works", "/pricing")
FIGURES = {
    "return_twr",
    "max_drawdown",
    "sharpe",
    "sortino",
    "win_rate",
    "expectancy_r",
    "profit_factor",
    "trades",
}


async def test_results_are_html_for_browsers_and_json_if_the_request_prefers_it(
    public: PublicSite, client: Client
) -> None:
    browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    async with client(public) as http:
        for accept, kind in (
            (browser, "text/html"),
            ("*/*", "text/html"),
            ("application/json", "application/json"),
            ("text/html;q=0.4, application/json;q=0.6", "application/json"),
            ("text/html;q=0.6, application/json;q=0.4", "text/html"),
            (browser, "text/html"),
        ):
            answer = await http.get("/results", headers={"accept": accept})
            assert answer.headers["content-type"].startswith(kind), accept
            assert "accept" in answer.headers["vary"].lower()
        document = await http.get("/results.json")
        negotiated = await http.get("/results", headers={"accept": "application/json"})
    assert document.content == negotiated.content


async def results_of(app: PublicSite, client: Client) -> dict[str, Any]:
    async with client(app) as http:
        found: dict[str, Any] = (await http.get("/results.json")).json()
    return found


async def test_results_json_has_the_fields_of_its_contract(
    public: PublicSite, client: Client
) -> None:
    found = await results_of(public, client)
    assert {
        "mode",
        "since_ms",
        "as_of_ms",
        "currency",
        "equity",
        "performance",
        "days",
        "strategies",
        "trades_total",
        "halts",
        "config_digest",
        "notices",
    } <= found.keys()
    assert found["mode"] == "demo"
    assert found["since_ms"] == START_MS
    assert found["currency"] == "USDT"
    assert isinstance(found["equity"], str)
    assert found["trades_total"] == 80
    assert found["config_digest"] == "decade" * 10
    assert set(found["performance"]) == FIGURES | {"max_drawdown_snapshots"}
    del found["performance"]["max_drawdown_snapshots"]  # observed: it has no interval
    for name, figure in found["performance"].items():
        assert figure["low"] <= figure["value"] <= figure["high"], name
        assert figure["n"] > 0
    assert {s["name"] for s in found["strategies"]} == {"mean_reversion", "oi_momentum"}
    assert sum(s["trades"] for s in found["strategies"]) == 80


async def test_results_json_has_losing_days_and_one_row_for_days_that_cannot_be_separated(
    public: PublicSite, client: Client
) -> None:
    found = await results_of(public, client)
    days = found["days"]
    assert any(day["return"] < 0 for day in days if day["separable"])
    (gap,) = [day for day in days if not day["separable"]]
    assert (gap["day"], gap["last_day"]) == ("2025-08-10", "2025-08-12")
    assert (gap["return"], gap["complete"], gap["down"]) == (None, False, True)
    assert float(gap["pnl"]) != 0
    assert gap["trades"] == 2
    assert [day["complete"] for day in days].count(False) == 2
    assert days[-1]["complete"] is False
    assert len(days) == found["days_total"] == 41
    assert found["performance"]["sharpe"]["n"] == 39, "the gap is in no daily statistic"
    for day in days:
        assert isinstance(day["pnl"], str)


async def test_money_adds_up_over_days_and_over_months_to_the_record(
    public: PublicSite, client: Client
) -> None:
    found = await results_of(public, client)
    change = D(found["equity"]) - D(found["equity_start"]) - D(found["net_deposits"])
    assert found["net_deposits"] == "2000"
    for rows in (found["days"], found["months"]):
        assert sum(D(row["pnl"]) for row in rows) == change
        assert sum(D(row["net_deposits"]) for row in rows) == 2000
        assert sum(row["trades"] for row in rows) == found["trades_total"]
    assert [row["month"] for row in found["months"]] == ["2025-07", "2025-08", "2025-09"]
    assert [row["complete_days"] for row in found["months"]] == [6, 28, 5]
    assert found["months"][1]["unseparated_days"] == 3
    whole = [False, True, False]  # it began on 26 July, and September goes on
    assert [row["complete"] for row in found["months"]] == whole


@pytest.mark.parametrize("missed_day", [5, 36], ids=["31 July", "31 August"])
async def test_a_month_with_an_unknown_midnight_is_not_complete(
    tmp_path: Path, client: Client, missed_day: int
) -> None:
    path = tmp_path / "missed.sqlite3"
    write_record(path, trades_per_day=1, outage_day=missed_day, down_days=2)
    found = await results_of(PublicSite(path, Site(mode=RunMode.DEMO), runner=inline), client)
    assert [row["month"] for row in found["months"]] == ["2025-07", "2025-08", "2025-09"]
    assert [row["complete"] for row in found["months"]] == [False, False, False]


async def test_a_deposit_is_not_part_of_the_return(public: PublicSite, client: Client) -> None:
    found = await results_of(public, client)
    day = next(day for day in found["days"] if day["net_deposits"] != "0")
    assert day["net_deposits"] == "2000"
    assert abs(day["return"]) < 0.1
    assert abs(float(day["pnl"])) < 1000
    complete = math.prod(1 + day["return"] for day in found["days"] if day["complete"])
    assert found["performance"]["return_twr"]["value"] == pytest.approx(complete - 1)
    whole = 1.0
    for one in found["days"]:
        # There is no transfer in the days that cannot be separated.
        own = one["return"]
        whole *= (
            1 + own if own is not None else float(one["equity_end"]) / float(one["equity_start"])
        )
    assert math.prod(1 + month["return"] for month in found["months"]) == pytest.approx(whole)


async def test_intervals_rest_on_complete_days_and_have_the_end_of_the_last_one(
    public: PublicSite, client: Client
) -> None:
    found = await results_of(public, client)
    last = [day for day in found["days"] if day["complete"]][-1]
    for name, figure in found["performance"].items():
        if name not in ("trades", "max_drawdown_snapshots"):
            assert figure["interval"]["as_of_ms"] == day_ms(last["day"]) + DAY_MS, name
            assert figure["interval"]["days"] == 39
    assert found["performance"]["sharpe"]["interval"]["n"] == 39
    assert found["performance"]["win_rate"]["interval"]["n"] == 78, "two trades closed in the gap"
    assert found["performance"]["win_rate"]["n"] == 80


async def test_halts_downtime_deposits_and_configurations_are_published_with_times_and_reasons(
    public: PublicSite, client: Client
) -> None:
    found = await results_of(public, client)
    (halt,) = found["halts"]
    assert halt["reason"] == "DAY_LOSS_LIMIT"
    assert halt["until_ms"] - halt["from_ms"] == 11 * 3_600_000
    (gap,) = found["downtime"]
    assert gap["until_ms"] - gap["from_ms"] == 2 * DAY_MS + 3_600_000, (
        "downtime is from cycle to cycle"
    )
    assert gap["cause"] == "crash"
    async with client(public) as http:
        page = (await http.get("/results")).text
    assert "the day&#39;s loss reached its limit" in page
    assert 'class="band halt"' in page
    assert "halted (1)" in page
    assert 'class="band down"' in page
    assert "ended without warning" in page
    assert "Configuration changed: lower risk" in page
    assert "Deposit, 2025-08-17 12:00 UTC: 2,000.00 USDT" in page


async def test_the_results_page_shows_sharpe_ratio_trade_count_and_insufficient_evidence(
    public: PublicSite, client: Client
) -> None:
    found = await results_of(public, client)
    async with client(public) as http:
        page = (await http.get("/results")).text
    sharpe = found["performance"]["sharpe"]
    shown = f"{abs(sharpe['value']):.2f}"
    assert shown in page
    assert f"{found['performance']['win_rate']['n']} <small>closed trades</small>" in page
    assert "insufficient evidence" in page  # of oi_momentum, with too few trades of its own


async def test_a_record_of_three_days_has_insufficient_evidence_for_every_estimated_figure(
    young_record: Path, demo: Site, client: Client
) -> None:
    app = PublicSite(young_record, demo, runner=inline)
    found = await results_of(app, client)
    for name, figure in found["performance"].items():
        if name not in ("trades", "max_drawdown_snapshots"):
            assert figure["value"] is None
            assert figure["reason"].startswith("insufficient evidence")
    async with client(app) as http:
        page = await http.get("/results")
    assert page.status_code == 200
    assert page.text.count("insufficient evidence") >= 7


async def test_every_page_of_an_empty_database_is_served_without_an_error(
    tmp_path: Path, demo: Site, client: Client
) -> None:
    path = tmp_path / "kamou.sqlite3"
    open_writer(path, durable=False).close()
    app = PublicSite(path, demo, runner=inline)
    found = await results_of(app, client)
    assert found["since_ms"] is None
    assert found["equity"] is None
    async with client(app) as http:
        for page in PAGES:
            assert (await http.get(page)).status_code == 200, page
        assert "Nothing has been recorded yet" in (await http.get("/results")).text
        assert "No closed trade yet" in (await http.get("/trades")).text


async def test_a_day_that_opened_with_an_equity_of_0_has_no_return(
    tmp_path: Path, demo: Site, client: Client
) -> None:
    path = tmp_path / "kamou.sqlite3"
    connection = open_writer(path, durable=False)
    JournalWriter(connection, run_number=1).append(
        [
            DayOpened(at_ms=START_MS, day="2025-07-26", equity=D(0)),
            DayOpened(at_ms=START_MS + DAY_MS, day="2025-07-27", equity=D(0)),
        ]
    )
    connection.close()
    found = await results_of(PublicSite(path, demo, runner=inline), client)
    assert [day["return"] for day in found["days"]] == [None, None]


async def test_two_sites_of_one_database_serve_the_same_results_json(
    record: Path, demo: Site, client: Client
) -> None:
    documents = []
    for _ in range(2):
        async with client(PublicSite(record, demo, runner=inline)) as http:
            documents.append((await http.get("/results.json")).content)
    assert documents[0] == documents[1]


async def test_the_thinned_curve_of_results_json_keeps_the_lowest_and_highest_equity(
    tmp_path: Path, demo: Site, client: Client
) -> None:
    path = tmp_path / "kamou.sqlite3"
    connection = open_writer(path, durable=False)
    writer = JournalWriter(connection, run_number=1)
    generator = Random(3)
    equities = [D(10_000) + D(generator.randint(-500, 500)) for _ in range(4_000)]
    writer.append([equity_mark(START_MS + i * 300_000, e) for i, e in enumerate(equities)])
    connection.close()
    curve = (await results_of(PublicSite(path, demo, runner=inline), client))["equity_curve"]
    assert len(curve) <= POINTS_MAX
    assert min(D(point["low"]) for point in curve) == min(equities)
    assert max(D(point["high"]) for point in curve) == max(equities)
    assert (curve[-1]["at_ms"], D(curve[-1]["equity"])) == (
        START_MS + 3_999 * 300_000,
        equities[-1],
    )
