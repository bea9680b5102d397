from __future__ import annotations

import re
from contextlib import closing
from decimal import Decimal as D
from html import unescape
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest

from kamou.core.book.events import TradeClosed
from kamou.core.book.late_events import ResultCorrected
from kamou.core.kinds import ExitReason
from kamou.core.model import Side
from kamou.store.database import open_reader, open_writer
from kamou.store.journal import JournalWriter
from kamou.store.queries import TradeFilter, TradeOutcome, query_trades
from kamou.web import format as fmt
from kamou.web.app import PublicSite
from kamou.web.format import DASH
from kamou.web.site import Site
from tests.site_client import Client, inline
from tests.web.published_record import write_record

AS_JSON = {"accept": "application/json"}


def a_trade(record: Path) -> str:
    return query_trades(open_reader(record), limit=1)[0].trade_id


def neighbor(text: str, rel: str) -> str | None:
    """Return the address of the newer (``prev``) or older (``next``) page."""
    found = re.search(f'rel="{rel}" href="([^"]+)"', text)
    return None if found is None else unescape(found[1])


@pytest.mark.parametrize("query", ["", "strategy=mean_reversion", "outcome=loss&strategy="])
async def test_pages_of_trades_lead_through_all_of_them_and_back(
    public: PublicSite, client: Client, record: Path, query: str
) -> None:
    chosen = dict(part.split("=") for part in query.split("&") if part)
    filters = msgspec.convert({k: value for k, value in chosen.items() if value}, TradeFilter)
    wanted = [quote(t.trade_id) for t in query_trades(open_reader(record), filters)]
    address: str | None = f"/trades?{query}"
    seen: list[list[str]] = []
    last = ""
    async with client(public) as http:
        while address is not None:
            last = address
            page = (await http.get(address)).text
            seen.append(re.findall(r'<a href="/trades/([^"?]+)">', page))
            address = neighbor(page, "next")
        assert [trade for part in seen for trade in part] == wanted
        assert all(len(part) == 50 for part in seen[:-1])
        back = []
        address = last
        while address is not None:
            page = (await http.get(address)).text
            back.append(re.findall(r'<a href="/trades/([^"?]+)">', page))
            address = neighbor(page, "prev")
    assert back == seen[::-1]
    assert f"{len(wanted)} closed trades" in page


async def test_the_public_api_lists_the_same_trades_as_the_json_of_the_trades_page(
    public: PublicSite, client: Client
) -> None:
    address: str | None = "/api/v1/public/trades?outcome=loss"
    async with client(public) as http:
        page = (await http.get("/trades?outcome=loss", headers=AS_JSON)).json()
        while address is not None:
            answer = await http.get(address, headers={"accept": "text/html"})
            assert answer.headers["content-type"] == "application/json"
            listed = answer.json()
            for name in ("trades", "total", "as_of_ms", "mode", "currency"):
                assert listed[name] == page[name]
            for name in ("older_url", "newer_url"):
                assert listed[name] == _in_the_api(page[name])
            address, later = listed["older_url"], page["older_url"]
            page = (await http.get(later, headers=AS_JSON)).json() if later else None


def _in_the_api(url: str | None) -> str | None:
    return None if url is None else f"/api/v1/public{url}"


@pytest.mark.parametrize("query", ["before=0-0", "after=999999999999999-9"])
async def test_a_page_of_trades_that_does_not_exist_is_not_found(
    public: PublicSite, client: Client, query: str
) -> None:
    async with client(public) as http:
        assert (await http.get(f"/trades?{query}")).status_code == 404


async def test_trades_are_filtered_by_strategy_symbol_and_outcome(
    public: PublicSite, client: Client, record: Path
) -> None:
    lost = query_trades(
        open_reader(record), TradeFilter(strategy="oi_momentum", outcome=TradeOutcome.LOSS)
    )
    async with client(public) as http:
        page = await http.get("/trades?strategy=oi_momentum&outcome=loss")
        none = await http.get("/trades?symbol=NOPE")
    assert page.text.count('<th scope="row">') == len(lost) > 0
    assert '<option value="oi_momentum" selected>' in page.text
    assert "No closed trade matches" in none.text


async def test_a_trades_page_has_its_chain_of_causes_back_to_the_bar(
    public: PublicSite, client: Client, record: Path
) -> None:
    trade_id = a_trade(record)
    async with client(public) as http:
        listed = await http.get("/trades")
        page = await http.get(f"/trades/{quote(trade_id)}")
    assert f'href="/trades/{quote(trade_id)}"' in listed.text
    assert page.status_code == 200
    links = re.findall(r"<h3>(\w+)</h3>", page.text)
    assert links == ["Fills", "Orders", "Permit", "Signal", "Cycle", "Bar"]
    for said in ("98.40", "mean reversion" if "mean" in trade_id else "OI momentum", "99.95"):
        assert said in page.text
    timeline = re.findall(r'<td class="text">([A-Z][a-z ]+)<small>', page.text)
    assert timeline[:4] == ["Bar opened", "Bar closed", "Signal ranked", "Permit granted"]
    assert timeline[-1] == "Trade closed"
    assert (
        timeline.index("Entry order recorded")
        < timeline.index("Permit used")
        < timeline.index("Filled")
    )


async def test_an_unknown_trade_is_not_found(public: PublicSite, client: Client) -> None:
    async with client(public) as http:
        assert (await http.get("/trades/1.none.BTCUSDT")).status_code == 404


async def test_a_trade_without_a_chain_of_causes_still_has_a_page(
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


async def test_a_trade_that_no_plan_opened_has_a_dash_for_r_and_is_counted_apart_from_the_mean(
    client: Client, demo: Site, tmp_path: Path
) -> None:
    path = tmp_path / "kamou.sqlite3"
    write_record(path, days=20)
    planned = query_trades(open_reader(path))
    with closing(open_writer(path)) as connection:
        last = planned[0].closed_at_ms
        JournalWriter(connection, run_number=1).append([_adopted(last)])
    public = PublicSite(path, demo, runner=inline)
    async with client(public) as http:
        own = (await http.get("/trades/found")).text
        listed = (await http.get("/trades?strategy=adopted")).text
        results = (await http.get("/results")).text
        figure = (await http.get("/results.json")).json()["performance"]["expectancy_r"]
    assert "without R, because no plan opened all of it" in own
    assert DASH in listed[listed.index("<tbody>") : listed.index("</tbody>")]
    assert "closed trades, 1 without R" in results
    assert figure["n"] == len(planned)
    mean = sum(trade.r_multiple or 0.0 for trade in planned) / len(planned)
    assert figure["value"] == pytest.approx(mean)


def _adopted(at_ms: int) -> TradeClosed:
    return TradeClosed(
        at_ms=at_ms,
        trade_id="found",
        symbol="SOLUSDT",
        strategy="adopted",
        side=Side.LONG,
        quantity=D(1),
        contract_size=D(1),
        entry_price=D(100),
        exit_price=D(99),
        stop_price=D("99.99"),
        opened_at_ms=at_ms - 1,
        closed_at_ms=at_ms,
        pnl_gross=D(-1),
        fees=D(0),
        funding=D(0),
        slippage=D(0),
        pnl_net=D(-1),
        r_multiple=None,
        exit_reason=ExitReason.EXTERNAL,
    )


async def test_a_result_that_late_funding_corrected_shows_the_new_net_and_the_correction(
    client: Client, demo: Site, tmp_path: Path
) -> None:
    path = tmp_path / "kamou.sqlite3"
    write_record(path, days=3)
    trade = query_trades(open_reader(path), limit=1)[0]
    net = trade.pnl_net - D("1.25")
    with closing(open_writer(path)) as connection:
        JournalWriter(connection, run_number=1).append(
            [
                ResultCorrected(
                    at_ms=trade.closed_at_ms + 60_000,
                    cause_id=trade.trade_id,
                    trade_id=trade.trade_id,
                    number=1,
                    added=D("-1.25"),
                    funding=trade.funding - D("1.25"),
                    pnl_net=net,
                    r_multiple=D("-0.5"),
                )
            ]
        )
    async with client(PublicSite(path, demo, runner=inline)) as http:
        text = unescape((await http.get(f"/trades/{quote(trade.trade_id)}")).text)
        sums = (await http.get("/results.json")).json()["strategies"]
    assert f"{fmt.MINUS}1.2500 listed late, net {fmt.money(net, signed=True, places=4)}" in text
    assert "0.500 R" in text
    shown = sum(D(each["pnl_net"]) for each in sums)
    assert shown == sum(each.pnl_net for each in query_trades(open_reader(path)))


async def test_every_value_of_an_order_card_has_its_label(
    public: PublicSite, client: Client, record: Path
) -> None:
    async with client(public) as http:
        page = (await http.get(f"/trades/{quote(a_trade(record))}")).text
    table = page.partition('aria-label="Orders"')[2].partition("</table>")[0]
    heads = re.findall(r'<th scope="col"[^>]*>(\w+)</th>', table)
    rows = re.findall(r"<tr><th scope=\"row\">.*?</tr>", table, re.DOTALL)
    assert rows
    for row in rows:
        cells = re.findall(r"<td([^>]*)>(.*?)</td>", row, re.DOTALL)
        labels = [re.search(r'data-label="(\w+)"', attributes) for attributes, _ in cells]
        assert [label and label[1] for label in labels] == heads[1:]
        assert not any("<" in value for _, value in cells), "two values have one label"
    types = re.findall(r'data-label="Type">([a-z ]+)<', table)
    assert {"limit", "stop market"} <= set(types)
