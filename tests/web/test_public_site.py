from __future__ import annotations

import gzip
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio
from conftest import Client, inline  # type: ignore[import-not-found]
from published_record import START_MS, write_record

from kamou.clock import DAY_MS
from kamou.core.events import RunStopped
from kamou.errors import ConfigurationError
from kamou.store.database import open_reader, open_writer
from kamou.store.journal import JournalWriter
from kamou.store.queries import trades
from kamou.web.app import ROUTES, PublicSite
from kamou.web.site import RISK_NOTICE, Site, read_pricing

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


class Markup(HTMLParser):
    """What a page would load, run or style by itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def a_trade(record: Path) -> str:
    return trades(open_reader(record), limit=1)[0].trade_id


# --- the pages -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_says_its_mode_and_its_risk(
    public: PublicSite, client: Client, path: str
) -> None:
    async with client(public) as http:
        answer = await http.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "Demo: simulated market and simulated money; the gate is assumed live." in answer.text
    assert RISK_NOTICE in answer.text.replace("&#39;", "'")


@pytest.mark.parametrize("path", [*PAGES, "TRADE", "/nowhere"])
async def test_no_page_loads_anything_of_others_or_runs_or_styles_inline(
    public: PublicSite, client: Client, record: Path, path: str
) -> None:
    async with client(public) as http:
        answer = await http.get(path.replace("TRADE", f"/trades/{a_trade(record)}"))
    page = Markup(answer.text)
    assert "script" not in page.tags
    assert "style" not in page.tags
    names = {name for name, _ in page.attributes}
    assert not {name for name in names if name.startswith("on")}
    assert "style" not in names
    for name, value in page.attributes:
        if name in ("href", "src", "action"):
            assert value is not None
            assert value.startswith(("/", "#")), value
            assert not value.startswith("//"), value


@pytest.mark.parametrize("path", [*PAGES, "/results.json", "/nowhere"])
async def test_every_reply_carries_the_security_headers_and_no_cookie(
    public: PublicSite, client: Client, path: str
) -> None:
    async with client(public) as http:
        headers = (await http.get(path)).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "set-cookie" not in headers


async def test_the_style_sheet_is_kept_for_ever_under_the_name_of_its_content(
    public: PublicSite, client: Client
) -> None:
    async with client(public) as http:
        page = (await http.get("/")).text
        (address,) = re.findall(r'href="(/static/site\.[0-9a-f]{12}\.css)"', page)
        sheet = await http.get(address)
        other = await http.get("/static/site.000000000000.css")
    assert sheet.status_code == 200
    assert sheet.headers["content-type"].startswith("text/css")
    assert "immutable" in sheet.headers["cache-control"]
    assert other.status_code == 404


# --- results -------------------------------------------------------------------------------------


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


async def test_the_document_is_a_function_of_the_database_alone(
    record: Path, demo: Site, client: Client
) -> None:
    documents = []
    for _ in range(2):
        async with client(PublicSite(record, demo, runner=inline)) as http:
            documents.append((await http.get("/results.json")).content)
    assert documents[0] == documents[1]


# --- trades --------------------------------------------------------------------------------------


async def test_trades_are_paged_newest_first(public: PublicSite, client: Client) -> None:
    async with client(public) as http:
        first = await http.get("/trades")
        second = await http.get("/trades?page=2")
        third = await http.get("/trades?page=3")
    assert "80 closed trades" in first.text
    assert first.text.count('<th scope="row">') == 50
    assert second.text.count('<th scope="row">') == 30
    assert 'rel="next" href="/trades?page=2"' in first.text
    assert 'rel="prev" href="/trades?page=1"' in second.text
    assert third.status_code == 404


@pytest.mark.parametrize("query", ["page=0", "page=-1", "page=x", "page=99999999", "outcome=odd"])
async def test_a_page_of_trades_that_does_not_exist_is_not_found(
    public: PublicSite, client: Client, query: str
) -> None:
    async with client(public) as http:
        assert (await http.get(f"/trades?{query}")).status_code == 404


async def test_trades_are_filtered_by_strategy_symbol_and_outcome(
    public: PublicSite, client: Client, record: Path
) -> None:
    lost = trades(open_reader(record), strategy="oi_momentum", outcome="loss")
    async with client(public) as http:
        page = await http.get("/trades?strategy=oi_momentum&outcome=loss")
        none = await http.get("/trades?symbol=NOPE")
    assert page.text.count('<th scope="row">') == len(lost) > 0
    assert '<option value="oi_momentum" selected>' in page.text
    assert "No closed trade matches" in none.text


async def test_a_trade_opens_to_its_chain_of_causes_back_to_the_candle(
    public: PublicSite, client: Client, record: Path
) -> None:
    trade_id = a_trade(record)
    async with client(public) as http:
        listed = await http.get("/trades")
        page = await http.get(f"/trades/{quote(trade_id)}")
    assert f'href="/trades/{quote(trade_id)}"' in listed.text
    assert page.status_code == 200
    links = re.findall(r"<h3>(\w+)</h3>", page.text)
    assert links == ["Fills", "Orders", "Permit", "Signal", "Cycle", "Candle"]
    for said in ("98.40", "mean reversion" if "mean" in trade_id else "oi momentum", "99.95"):
        assert said in page.text
    diary = re.findall(r'<td class="text">([A-Z][a-z ]+)<small>', page.text)
    assert diary[:4] == ["Candle opened", "Candle closed", "Signal ranked", "Permit granted"]
    assert diary[-1] == "Trade closed"
    assert diary.index("Entry order recorded") < diary.index("Permit used") < diary.index("Filled")


async def test_a_trade_that_never_closed_is_not_found(public: PublicSite, client: Client) -> None:
    async with client(public) as http:
        assert (await http.get("/trades/1.none.BTCUSDT")).status_code == 404


async def test_a_trade_without_a_chain_still_has_a_page(
    tmp_path: Path, demo: Site, client: Client
) -> None:
    path = tmp_path / "kamou.sqlite3"
    write_record(path, days=1, trades_per_day=1)
    with open_writer(path) as writer:
        for table in ("order_", "fill", "permit", "signal", "cycle"):
            writer.execute(f"DELETE FROM {table}")
    trade_id = a_trade(path)
    async with client(PublicSite(path, demo, runner=inline)) as http:
        page = await http.get(f"/trades/{trade_id}")
    assert page.status_code == 200
    assert page.text.count("None on record") == 6


# --- pricing -------------------------------------------------------------------------------------


async def test_pricing_is_free_and_self_hosted_when_the_operator_says_nothing(
    public: PublicSite, client: Client
) -> None:
    async with client(public) as http:
        assert "Free, self-hosted" in (await http.get("/pricing")).text


async def test_the_operators_markdown_is_shown_and_its_html_stays_text(
    record: Path, client: Client
) -> None:
    text = "# Plans\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n<script>x</script> [y](javascript:x)"
    app = PublicSite(record, Site(mode="paper", pricing_markdown=text), runner=inline)
    async with client(app) as http:
        page = (await http.get("/pricing")).text
    assert "<h1>Plans</h1>" in page
    assert "<table>" in page
    assert "<script>" not in page
    assert 'href="javascript' not in page
    assert "Paper: real market data, simulated money." in page
    assert "Free, self-hosted" not in page


def test_the_pricing_file_is_read_or_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "pricing.md"
    file.write_text("hello", encoding="utf-8")
    assert read_pricing(str(file)) == "hello"
    assert read_pricing("") == ""
    with pytest.raises(ConfigurationError, match=r"web\.pricing_file"):
        read_pricing(str(tmp_path / "absent.md"))


async def test_a_live_site_has_no_demo_banner(record: Path, client: Client) -> None:
    async with client(PublicSite(record, Site(mode="live"), runner=inline)) as http:
        page = (await http.get("/how-it-works")).text
    assert "simulated" not in page.replace("simulated or real", "")
    assert 'class="mode"' in page


# --- HTTP ----------------------------------------------------------------------------------------


async def test_an_unchanged_page_is_not_sent_again(public: PublicSite, client: Client) -> None:
    async with client(public) as http:
        for path in ("/results", "/results.json", "/trades?page=2"):
            first = await http.get(path)
            etag = first.headers["etag"]
            for _ in range(2):
                again = await http.get(path, headers={"if-none-match": f'"x", {etag}'})
                assert again.status_code == 304
                assert again.content == b""
                assert again.headers["etag"] == etag
            changed = await http.get(path, headers={"if-none-match": 'W/"other"'})
            assert changed.status_code == 200


async def test_a_new_commit_makes_a_new_page(tmp_path: Path, demo: Site, client: Client) -> None:
    path = tmp_path / "kamou.sqlite3"
    write_record(path, days=1)
    app = PublicSite(path, demo, runner=inline)
    async with client(app) as http:
        before = (await http.get("/results.json")).json()
        connection = open_writer(path)
        at_ms = START_MS + 9 * DAY_MS
        JournalWriter(connection, generation=1).append(
            [RunStopped(at_ms=at_ms, generation=1, reason="SIGTERM")]
        )
        connection.close()
        after = (await http.get("/results.json")).json()
    assert after["journal_seq"] == before["journal_seq"] + 1


async def test_a_page_is_rendered_once_however_many_ask_at_once(
    record: Path, demo: Site, client: Client
) -> None:
    renders = 0

    async def counted(function: Any, *args: object) -> Any:
        nonlocal renders
        renders += 1
        await trio.lowlevel.checkpoint()
        return function(*args)

    app = PublicSite(record, demo, runner=counted)
    async with client(app) as http, trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(http.get, "/trades")
    assert renders == 1


async def test_pages_are_rendered_on_a_thread_by_default(
    record: Path, demo: Site, client: Client
) -> None:
    app = PublicSite(record, demo)
    async with client(app) as http:
        assert (await http.get("/results")).status_code == 200
        assert (await http.get("/results")).status_code == 200
    app.close()
    app.close()
    async with client(app) as http:
        assert (await http.get("/trades")).status_code == 200
    app.close()


async def test_head_has_the_headers_of_get_and_no_body(public: PublicSite, client: Client) -> None:
    async with client(public) as http:
        for path in ("/results", "/trades", "/results.json"):
            for _ in range(2):  # rendered, then remembered
                head, get = await http.head(path), await http.get(path)
                assert head.status_code == 200
                assert head.content == b""
                assert head.headers["etag"] == get.headers["etag"]
                assert head.headers["content-length"] == get.headers["content-length"]


async def test_pages_are_sent_compressed_to_those_who_can_read_it(
    public: PublicSite, client: Client
) -> None:
    async with client(public) as http:
        async with http.stream(
            "GET", "/results", headers={"accept-encoding": "gzip"}
        ) as compressed:
            raw = b"".join([chunk async for chunk in compressed.aiter_raw()])
            assert compressed.headers["content-encoding"] == "gzip"
        plain = await http.get("/results", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(raw) == plain.content
    assert len(raw) * 3 < len(plain.content)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_can_be_written(public: PublicSite, client: Client, method: str) -> None:
    async with client(public) as http:
        for row in ROUTES:
            answer = await http.request(method, row.path.replace("{trade_id:path}", "x"))
            assert answer.status_code == 405, row.path
            assert "This site can only be read" in answer.text
            assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("path", ["/nowhere", "/results/", "/static/../app.py", "/api/v1/halt"])
async def test_what_is_not_there_is_not_found_in_the_sites_own_style(
    public: PublicSite, client: Client, path: str
) -> None:
    async with client(public) as http:
        answer = await http.get(path)
    assert answer.status_code == 404
    assert "There is nothing at this address" in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers


async def test_an_overlong_query_is_refused(public: PublicSite, client: Client) -> None:
    async with client(public) as http:
        answer = await http.get("/trades?symbol=" + "x" * 600)
    assert answer.status_code == 414


async def test_parameters_that_a_page_does_not_read_do_not_fill_the_cache(
    public: PublicSite, client: Client
) -> None:
    async with client(public) as http:
        for i in range(5):
            assert (await http.get(f"/results.json?x={i}")).status_code == 200
    assert len(public._replies) == 1


async def test_a_page_that_fails_is_an_error_page_and_is_reported(
    tmp_path: Path, demo: Site, client: Client
) -> None:
    reported: list[tuple[str, Exception]] = []
    app = PublicSite(
        tmp_path / "absent.sqlite3",
        demo,
        runner=inline,
        on_error=lambda path, error: reported.append((path, error)),
    )
    async with client(app) as http:
        answer = await http.get("/results")
    assert answer.status_code == 500
    assert "Trading does not depend on it" in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert reported[0][0] == "/results"


async def test_without_a_reporter_a_failing_page_is_still_an_error_page(
    tmp_path: Path, demo: Site, client: Client
) -> None:
    async with client(PublicSite(tmp_path / "absent.sqlite3", demo, runner=inline)) as http:
        assert (await http.get("/trades")).status_code == 500


async def test_the_sites_connections_cannot_write(record: Path) -> None:
    reader = open_reader(record)
    with pytest.raises(Exception, match=r"readonly|read-only"):
        reader.execute("DELETE FROM trade")
