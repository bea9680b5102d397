from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from published_record import START_MS
from site_client import Client, inline

from kamou.clock import DAY_MS
from kamou.core.events import DayOpened, EquityMarked
from kamou.store import public_queries
from kamou.store.database import open_writer
from kamou.store.journal import JournalWriter
from kamou.web.app import PublicSite
from kamou.web.site import Site

PAGES = ("/", "/results", "/trades", "/how-it-works", "/pricing")
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


async def test_results_are_html_for_browsers_and_json_for_those_who_ask(
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


async def test_the_document_has_what_the_contract_names(public: PublicSite, client: Client) -> None:
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
    assert set(found["performance"]) == FIGURES
    for name, figure in found["performance"].items():
        assert figure["low"] <= figure["value"] <= figure["high"], name
        assert figure["n"] > 0
    assert {s["name"] for s in found["strategies"]} == {"mean_reversion", "oi_momentum"}
    assert sum(s["trades"] for s in found["strategies"]) == 80


async def test_losing_days_and_days_without_a_run_are_in_the_document(
    public: PublicSite, client: Client
) -> None:
    days = (await results_of(public, client))["days"]
    assert any(day["return"] < 0 for day in days)
    assert [day["day"] for day in days if day["down"]] == ["2025-08-11", "2025-08-12"]
    assert [day["complete"] for day in days].count(False) == 1
    assert days[-1]["complete"] is False
    assert len(days) == 43
    for day in days:
        assert isinstance(day["pnl"], str)


async def test_a_deposit_is_not_profit(public: PublicSite, client: Client) -> None:
    found = await results_of(public, client)
    day = next(day for day in found["days"] if day["flows"] != "0")
    assert day["flows"] == "2000"
    assert abs(day["return"]) < 0.1
    assert abs(float(day["pnl"])) < 1000
    chained = 1.0
    for one in found["days"]:
        chained *= 1 + one["return"]
    assert found["performance"]["return_twr"]["value"] == pytest.approx(chained - 1)


async def test_halts_and_downtime_are_published_with_reasons(
    public: PublicSite, client: Client
) -> None:
    found = await results_of(public, client)
    (halt,) = found["halts"]
    assert halt["reason"] == "DAY_LOSS_LIMIT"
    assert halt["until_ms"] - halt["from_ms"] == 11 * 3_600_000
    (gap,) = found["downtime"]
    assert gap["until_ms"] - gap["from_ms"] == pytest.approx(2 * DAY_MS, abs=2 * 3_600_000)
    async with client(public) as http:
        page = (await http.get("/results")).text
    assert "day loss limit" in page
    assert 'class="band halt"' in page
    assert 'class="band down"' in page
    assert "ended without warning" in page
    assert "Configuration changed: lower risk" in page
    assert "Deposit or withdrawal: +2,000.00 USDT" in page


async def test_the_page_shows_each_figure_with_its_count_and_interval(
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


async def test_a_young_record_says_insufficient_evidence(
    young_record: Path, demo: Site, client: Client
) -> None:
    app = PublicSite(young_record, demo, runner=inline)
    found = await results_of(app, client)
    for name, figure in found["performance"].items():
        if name != "trades":
            assert figure["value"] is None
            assert figure["reason"].startswith("insufficient evidence")
    async with client(app) as http:
        page = await http.get("/results")
    assert page.status_code == 200
    assert page.text.count("insufficient evidence") >= 7


async def test_an_empty_database_is_a_page_and_not_an_error(
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


async def test_a_day_that_opened_without_money_has_no_return(
    tmp_path: Path, demo: Site, client: Client
) -> None:
    path = tmp_path / "kamou.sqlite3"
    connection = open_writer(path, durable=False)
    JournalWriter(connection, generation=1).append(
        [
            DayOpened(at_ms=START_MS, day="2025-07-26", equity=Decimal(0)),
            DayOpened(at_ms=START_MS + DAY_MS, day="2025-07-27", equity=Decimal(0)),
        ]
    )
    connection.close()
    found = await results_of(PublicSite(path, demo, runner=inline), client)
    assert [day["return"] for day in found["days"]] == [0.0, 0.0]


async def test_the_document_is_a_function_of_the_database_alone(
    record: Path, demo: Site, client: Client
) -> None:
    documents = []
    for _ in range(2):
        async with client(PublicSite(record, demo, runner=inline)) as http:
            documents.append((await http.get("/results.json")).content)
    assert documents[0] == documents[1]


def test_thinning_the_curve_never_hides_a_dip(tmp_path: Path) -> None:
    connection = open_writer(tmp_path / "kamou.sqlite3", durable=False)
    equities = ("100", "100", "40", "100", "130", "100", "100.5")
    JournalWriter(connection, generation=1).append(
        [
            EquityMarked(
                at_ms=START_MS + i,
                equity=Decimal(equity),
                balance=Decimal(equity),
                unrealised=Decimal(0),
                margin_used=Decimal(0),
                open_risk=Decimal(0),
                flows=Decimal(0),
            )
            for i, equity in enumerate(equities)
        ]
    )
    thinned = public_queries.curve(connection, points_max=2)
    connection.close()
    assert [m.at_ms - START_MS for m in thinned] == [3, 6]
    assert [(m.low, m.high) for m in thinned] == [(40, 100), (100, 130)]
    assert thinned[-1].equity == Decimal("100.5")
