"""Conventions of the web: JSON for programs, addresses for search engines, a favicon."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from urllib.parse import quote

import attrs
import pytest

from kamou.settings.config import Settings, SiteSettings, find_settings_contradictions
from kamou.store.database import open_reader
from kamou.store.queries import query_trades
from kamou.web.app import PublicSite
from kamou.web.site import Site
from tests.site_client import Client, inline
from tests.web.published_record import write_record

PAGES = ("/", "/results", "/strategies", "/trades", "/days", "/how-it-works", "/pricing")
DOCUMENTS = ("/results.json", "/api/v1/public/days", "/api/v1/public/trades")
PUBLIC_URL = "https://kamou.example"


def a_trade(record: Path) -> str:
    return f"/trades/{quote(query_trades(open_reader(record), limit=1)[0].trade_id)}"


@pytest.fixture
def known(record: Path, demo: Site) -> PublicSite:
    return PublicSite(record, attrs.evolve(demo, public_url=PUBLIC_URL), runner=inline)


# --- programs ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("/nowhere", "application/json"),
        ("/results.json/nothing", "application/json"),
        ("/trades/none", "application/json"),
        ("/trades?before=x", "application/json"),
        ("/api/v1/public/days?limit=0", "*/*"),
        ("/api/v1/public/none", "text/html"),
    ],
)
async def test_errors_are_json_for_programs(
    public: PublicSite, client: Client, path: str, accept: str
) -> None:
    async with client(public) as http:
        answer = await http.get(path, headers={"accept": accept})
    assert answer.status_code in (400, 404)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["status"] == answer.status_code
    assert answer.json()["error"]


async def test_an_unknown_address_is_an_error_page_for_browsers(
    public: PublicSite, client: Client
) -> None:
    async with client(public) as http:
        answer = await http.get("/nowhere", headers={"accept": "text/html,*/*;q=0.8"})
    assert answer.headers["content-type"].startswith("text/html")


async def test_only_public_json_may_be_read_by_scripts_of_other_pages(
    public: PublicSite, client: Client, record: Path
) -> None:
    header = "access-control-allow-origin"
    program = {"accept": "application/json"}
    async with client(public) as http:
        for path in DOCUMENTS:
            assert (await http.get(path)).headers[header] == "*", path
        for path in ("/results", "/trades", a_trade(record), "/nowhere"):
            assert (await http.get(path, headers=program)).headers[header] == "*", path
            assert header not in (await http.get(path)).headers, path
        style = re.search(r'href="(/static/site[^"]+)"', (await http.get("/")).text)
        assert style is not None
        for path in (*PAGES, style[1], "/robots.txt", "/favicon.ico"):
            assert header not in (await http.get(path)).headers, path


async def test_trades_and_a_trade_are_json_if_the_request_prefers_it(
    public: PublicSite, client: Client, record: Path
) -> None:
    program = {"accept": "application/json"}
    with open_reader(record) as reader:
        newest = query_trades(reader)
    async with client(public) as http:
        found = (await http.get("/trades", headers=program)).json()
        second = (await http.get(found["older_url"], headers=program)).json()
        one = (await http.get(a_trade(record), headers=program)).json()
        page = await http.get("/trades", headers={"accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    listed = [trade["trade_id"] for trade in (*found["trades"], *second["trades"])]
    assert listed == [trade.trade_id for trade in newest]
    assert (found["total"], found["newer_url"], second["older_url"]) == (80, None, None)
    first = newest[0]
    assert found["trades"][0]["pnl_net"] == f"{first.pnl_net:f}"
    assert one["trade"] == found["trades"][0]
    assert one["fills_total"] == len(one["fills"]) == 2
    assert one["signal"]["features"] == {"z": -2.31, "rsi2": 4.2, "half_life": 11.5}
    assert one["permit"]["signal_id"] == one["signal"]["signal_id"] == first.trade_id


# --- search engines and previews ----------------------------------------------------------------


async def test_without_a_public_url_no_address_of_the_site_is_sent(
    public: PublicSite, client: Client, record: Path
) -> None:
    host = {"host": "evil.example"}
    async with client(public) as http:
        assert (await http.get("/sitemap.xml")).status_code == 404
        robots = (await http.get("/robots.txt", headers=host)).text
        assert "sitemap" not in robots.lower()
        for path in (*PAGES, a_trade(record)):
            page = (await http.get(path, headers=host)).text
            assert "canonical" not in page
            assert 'property="og:' not in page
            assert "evil.example" not in page


async def test_with_a_public_url_pages_have_its_address_and_not_that_of_the_host_header(
    known: PublicSite, client: Client, record: Path
) -> None:
    host = {"host": "evil.example"}
    async with client(known) as http:
        for path in (*PAGES, a_trade(record)):
            page = unescape((await http.get(path, headers=host)).text)
            assert f'<link rel="canonical" href="{PUBLIC_URL}{path}">' in page
            assert f'<meta property="og:url" content="{PUBLIC_URL}{path}">' in page
            assert "evil.example" not in page
        filtered = (await http.get("/trades?outcome=win", headers=host)).text
        assert f'<link rel="canonical" href="{PUBLIC_URL}/trades">' in filtered
        image = re.search(r'og:image" content="https://kamou.example([^"]+)"', filtered)
        assert image is not None
        assert (await http.get(image[1])).headers["content-type"] == "image/png"
        missing = (await http.get("/nowhere", headers=host)).text
        assert "canonical" not in missing
        sitemap = await http.get("/sitemap.xml", headers=host)
        robots = (await http.get("/robots.txt", headers=host)).text
    assert re.findall(r"<loc>([^<]+)</loc>", sitemap.text) == [PUBLIC_URL + p for p in PAGES]
    assert f"Sitemap: {PUBLIC_URL}/sitemap.xml" in robots


async def test_every_page_has_a_different_description(
    public: PublicSite, client: Client, record: Path
) -> None:
    paths = (*PAGES, a_trade(record))
    async with client(public) as http:
        pages = [unescape((await http.get(path)).text) for path in paths]
    found = [re.findall(r'<meta name="description" content="([^"]+)">', page) for page in pages]
    assert [len(each) for each in found] == [1] * len(paths)
    assert len({each[0] for each in found}) == len(paths)
    assert all(30 < len(each[0]) < 170 for each in found), found


async def test_favicon_and_robots_are_at_their_standard_addresses(
    public: PublicSite, client: Client
) -> None:
    async with client(public) as http:
        icon = await http.get("/favicon.ico")
        robots = await http.get("/robots.txt")
    assert icon.headers["content-type"] == "image/x-icon"
    assert icon.content[:4] == b"\x00\x00\x01\x00"
    assert robots.headers["content-type"] == "text/plain; charset=utf-8"
    assert robots.text.startswith("User-agent: *\n")


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("", True),
        ("https://kamou.example", True),
        ("http://127.0.0.1:8080", True),
        ("https://kamou.example/", False),
        ("https://kamou.example/path", False),
        ("kamou.example", False),
        ("javascript:alert(1)", False),
        ('https://a"><script>', False),
    ],
)
def test_the_public_url_is_empty_or_an_origin(url: str, allowed: bool) -> None:
    settings = Settings(site=SiteSettings(public_url=url))
    named = [
        keys for keys, _ in find_settings_contradictions(settings) if "site.public_url" in keys
    ]
    assert (named == []) is allowed


async def test_the_trades_json_of_a_record_without_trades_lists_none(
    tmp_path: Path, demo: Site, client: Client
) -> None:
    path = tmp_path / "kamou.sqlite3"
    write_record(path, days=1, trades_per_day=0)
    async with client(PublicSite(path, demo, runner=inline)) as http:
        found = (await http.get("/trades", headers={"accept": "application/json"})).json()
    assert (found["trades"], found["total"], found["older_url"]) == ([], 0, None)
