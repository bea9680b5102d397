from __future__ import annotations

import gzip
import re
import sqlite3
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import trio

from kamou.core.book.events import RunStopped
from kamou.core.day import DAY_MS
from kamou.core.kinds import RunEnd, RunMode
from kamou.errors import ConfigurationError
from kamou.site.process_protocol import read_pricing
from kamou.store.database import open_reader, open_writer
from kamou.store.journal import JournalWriter
from kamou.store.queries import query_trades
from kamou.web.app import ROUTES, PublicSite
from kamou.web.site import RISK_NOTICE, Site
from tests.site_client import Client, inline
from tests.web.published_record import START_MS, write_record

PAGES = ("/", "/results", "/strategies", "/trades", "/days", "/how-it-works", "/pricing")


class Markup(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def a_trade(record: Path) -> str:
    return query_trades(open_reader(record), limit=1)[0].trade_id


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_shows_its_mode_and_the_risk_notice(
    public: PublicSite, client: Client, path: str
) -> None:
    async with client(public) as http:
        answer = await http.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "Demo: simulated market and simulated money; the gate is assumed live." in answer.text
    assert RISK_NOTICE in answer.text.replace("&#39;", "'")


@pytest.mark.parametrize("path", [*PAGES, "TRADE", "/nowhere"])
async def test_no_page_loads_from_other_sites_or_has_scripts_or_inline_styles(
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


@pytest.mark.parametrize("path", [*PAGES, "/results.json", "/api/v1/public/days", "/nowhere"])
async def test_every_response_has_the_security_headers_and_no_cookie(
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


async def test_the_style_sheet_is_immutable_at_the_address_with_its_hash(
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


# --- HTTP ----------------------------------------------------------------------------------------


async def test_an_unchanged_page_is_not_sent_again(public: PublicSite, client: Client) -> None:
    async with client(public) as http:
        for path in ("/results", "/results.json", "/trades?outcome=win"):
            first = await http.get(path)
            etag = first.headers["etag"]
            for _ in range(2):
                again = await http.get(path, headers={"if-none-match": f'"x", {etag}'})
                assert again.status_code == 304
                assert again.content == b""
                assert again.headers["etag"] == etag
            changed = await http.get(path, headers={"if-none-match": 'W/"other"'})
            assert changed.status_code == 200


async def test_a_new_commit_makes_a_new_results_json(
    tmp_path: Path, demo: Site, client: Client
) -> None:
    path = tmp_path / "kamou.sqlite3"
    write_record(path, days=1)
    app = PublicSite(path, demo, runner=inline)
    async with client(app) as http:
        before = (await http.get("/results.json")).json()
        connection = open_writer(path)
        at_ms = START_MS + 9 * DAY_MS
        JournalWriter(connection, run_number=1).append(
            [RunStopped(at_ms=at_ms, run_number=1, reason=RunEnd.STOPPED)]
        )
        connection.close()
        after = (await http.get("/results.json")).json()
    assert after["journal_seq"] == before["journal_seq"] + 1


async def test_a_page_is_rendered_once_for_many_requests_at_once(
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


async def test_pages_are_served_with_the_default_runner_also_after_a_close(
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
            for _ in range(2):  # rendered, then cached
                head, get = await http.head(path), await http.get(path)
                assert head.status_code == 200
                assert head.content == b""
                assert head.headers["etag"] == get.headers["etag"]
                assert head.headers["content-length"] == get.headers["content-length"]


async def test_pages_are_compressed_if_the_request_accepts_gzip(
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
async def test_requests_that_would_write_are_not_allowed(
    public: PublicSite, client: Client, method: str
) -> None:
    async with client(public) as http:
        for row in ROUTES:
            answer = await http.request(method, row.path.replace("{trade_id:path}", "x"))
            assert answer.status_code == 405, row.path
            assert "This site can only be read" in answer.text
            assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("path", ["/nowhere", "/results/", "/static/../app.py", "/api/v1/halt"])
async def test_an_unknown_address_is_404_in_the_sites_style(
    public: PublicSite, client: Client, path: str
) -> None:
    async with client(public) as http:
        answer = await http.get(path)
    assert answer.status_code == 404
    assert "There is nothing at this address" in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers


async def test_an_overlong_query_gets_414(public: PublicSite, client: Client) -> None:
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


async def test_the_sites_connections_cannot_write(public: PublicSite, client: Client) -> None:
    async with client(public) as http:
        assert (await http.get("/trades")).status_code == 200
    for reader in (public._head_reader, public._page_reader):
        assert reader is not None
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("DELETE FROM trade")


# --- pricing -------------------------------------------------------------------------------------


async def test_pricing_is_free_and_self_hosted_without_a_pricing_file(
    public: PublicSite, client: Client
) -> None:
    async with client(public) as http:
        assert "Free, self-hosted" in (await http.get("/pricing")).text


async def test_the_operators_markdown_is_shown_and_its_html_stays_text(
    empty_record: Path, client: Client
) -> None:
    text = "# Plans\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n<script>x</script> [y](javascript:x)"
    app = PublicSite(empty_record, Site(mode=RunMode.PAPER, pricing_markdown=text), runner=inline)
    async with client(app) as http:
        page = (await http.get("/pricing")).text
    assert "<h1>Plans</h1>" in page
    assert "<table>" in page
    assert "<script>" not in page
    assert 'href="javascript' not in page
    assert "Paper: real market data, simulated money." in page
    assert "Free, self-hosted" not in page


def test_a_pricing_file_is_read_and_a_missing_one_is_an_error_with_its_setting(
    tmp_path: Path,
) -> None:
    file = tmp_path / "pricing.md"
    file.write_text("hello", encoding="utf-8")
    assert read_pricing(str(file)) == "hello"
    assert read_pricing("") == ""
    with pytest.raises(ConfigurationError, match=r"web\.pricing_file"):
        read_pricing(str(tmp_path / "absent.md"))


def test_a_demo_has_a_notice_of_the_gate_only_if_the_gate_is_assumed() -> None:
    assert Site(mode=RunMode.DEMO).banner == "Demo: simulated market and simulated money."
    assert not any("gate" in notice for notice in Site(mode=RunMode.DEMO).notices)
    assert any("gate" in notice for notice in Site(mode=RunMode.DEMO, assumed_live=True).notices)


async def test_a_live_site_has_no_demo_banner(empty_record: Path, client: Client) -> None:
    async with client(PublicSite(empty_record, Site(mode=RunMode.LIVE), runner=inline)) as http:
        page = (await http.get("/how-it-works")).text
    assert "simulated" not in page.replace("simulated or real", "")
    assert 'class="mode"' in page
