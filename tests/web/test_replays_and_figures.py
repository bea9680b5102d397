"""Pages of a replay, and the rounding and names of figures on pages."""

from __future__ import annotations

import importlib
import pkgutil
import re
from contextlib import closing
from decimal import Decimal as D
from html import unescape
from pathlib import Path
from urllib.parse import quote

import attrs
import pytest

from kamou.core import strategies
from kamou.core.book import events as e
from kamou.core.book.late_events import ResultCorrected
from kamou.core.book.run_events import ReplayEnded, ReplayStarted
from kamou.core.day import DAY_MS
from kamou.core.feature_names import FEATURE_NAMES
from kamou.store.database import open_reader, open_writer
from kamou.store.journal import JournalWriter, read_events
from kamou.web import format as fmt
from kamou.web.app import PublicSite
from kamou.web.site import Site
from tests.site_client import Client, inline
from tests.web.published_record import START_MS, write_record

RAW = re.compile(r"\d\.\d{9,}")  # no venue quotes so many places


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "kamou.sqlite3"
    write_record(path, days=15)
    return path


def append(path: Path, *events: e.Event) -> None:
    with closing(open_writer(path, durable=False)) as connection:
        JournalWriter(connection, run_number=1).append(events)


async def test_the_site_of_a_replay_names_its_recorded_market_and_its_end(
    record: Path, demo: Site, client: Client
) -> None:
    async with client(PublicSite(record, demo, runner=inline)) as http:
        before = (await http.get("/results")).text
        assert "Demo: simulated market and simulated money" in before
        assert "comes from a seeded generator" in (await http.get("/how-it-works")).text
        append(record, ReplayStarted(at_ms=START_MS, first_ms=START_MS, last_ms=START_MS + DAY_MS))
        page, how = (await http.get("/results")).text, (await http.get("/how-it-works")).text
        assert (await http.get("/results.json")).json()["market"] == "recorded"
        assert "simulated market" not in page
        assert "Demo: a replay of recorded market data, and simulated money" in page
        assert "seeded generator" not in how
        assert "<dt>State</dt><dd>trading</dd>" in page
        append(record, ReplayEnded(at_ms=START_MS + 99 * DAY_MS))
        page = (await http.get("/results")).text
        assert (await http.get("/results.json")).json()["ended"] is True
    assert "<dt>State</dt><dd>the replay has ended</dd>" in page


async def test_no_page_shows_a_raw_decimal(record: Path, demo: Site, client: Client) -> None:
    with closing(open_reader(record)) as reader:
        events = [committed.event for committed in read_events(reader, 0)]
    closed = next(each for each in events if isinstance(each, e.TradeClosed))
    third = D(100) / D(3)
    odd = attrs.evolve(
        closed,
        trade_id="odd",
        entry_price=third,
        exit_price=third / 7,
        planned_stop=third / 11,
        pnl_net=third,
        pnl_gross=third,
        fees=third / 9,
        slippage=third / 13,
    )
    late = ResultCorrected(
        at_ms=closed.at_ms,
        trade_id="odd",
        added=third / 17,
        number=1,
        funding=third / 17,
        pnl_net=third,
        r_multiple=D("0.5"),
    )
    append(record, odd, late)
    async with client(PublicSite(record, demo, runner=inline)) as http:
        for path in ("/", "/results", "/trades", "/days", "/trades/odd"):
            page = await http.get(path)
            assert page.status_code == 200, path
            text = re.sub(r"<svg.*?</svg>", "", page.text, flags=re.DOTALL)
            assert RAW.findall(text) == [], path
            assert "33.333333" in text or path != "/trades/odd"


async def test_the_features_of_a_trade_have_their_names_on_the_page(
    record: Path, demo: Site, client: Client
) -> None:
    with closing(open_reader(record)) as reader:
        trade = reader.execute("SELECT trade_id FROM trade LIMIT 1").fetchone()[0]
    async with client(PublicSite(record, demo, runner=inline)) as http:
        page = unescape((await http.get(f"/trades/{quote(trade)}")).text)
    assert "<dt>z-score of the price</dt>" in page
    assert "<dt>half-life in bars</dt>" in page


def test_every_feature_of_every_strategy_has_a_name() -> None:
    for found in pkgutil.iter_modules(strategies.__path__):
        module = importlib.import_module(f"kamou.core.strategies.{found.name}")
        assert set(getattr(module, "FEATURES", ())) <= set(FEATURE_NAMES), found.name


def test_a_price_has_at_most_eight_significant_digits_or_is_whole() -> None:
    assert fmt.price(D(1) / D(3)) == "0.33333333"
    assert fmt.price(D(200_000) / D(3)) == "66,666.667"
    assert fmt.price(D("0.00001234567891")) == "0.000012345679"
    assert fmt.price(D("67123.5")) == "67,123.5"
    assert fmt.price(D(0)) == "0"
    assert fmt.price(D("123456789")) == "123,456,789"
    assert fmt.price(None) == fmt.DASH
