"""The two pages of a trade that a late fill of its entry opened again."""

from __future__ import annotations

from contextlib import closing
from decimal import Decimal as D
from html import unescape
from pathlib import Path
from typing import Any

import attrs
import pytest

from kamou.core.book import events as e
from kamou.core.kinds import ExitReason, FillSource, RunMode
from kamou.core.model import FillReport, Intent, OrderRole, OrderType
from kamou.store.database import open_reader, open_writer
from kamou.store.journal import JournalWriter, read_events
from kamou.web.app import PublicSite
from kamou.web.site import Site
from tests.site_client import Client, inline
from tests.web.published_record import equity_mark, write_record

ADOPTED = "the venue held this position and it was adopted"


@attrs.frozen(kw_only=True)
class Parts:
    """The journal, the two trade ids, and the ids of entry and closing orders."""

    path: Path
    first: str
    second: str
    entry: str
    closed_first: str
    closed_second: str = "km-closes-the-second-part"


@pytest.fixture
def reopened(tmp_path: Path) -> Parts:
    """Return a record in which a late fill of 60 contracts opens a closed trade again."""
    return reopen(tmp_path, stamped_late=True)


def reopen(folder: Path, *, stamped_late: bool) -> Parts:
    path = folder / "kamou.sqlite3"
    write_record(path, days=1, trades_per_day=1)
    with closing(open_reader(path)) as reader:
        events = [committed.event for committed in read_events(reader, 0)]
    (first,) = [event for event in events if isinstance(event, e.TradeClosed)]
    filled, closed = [event for event in events if isinstance(event, e.FillRecorded)]
    (stop,) = [
        event
        for event in events
        if isinstance(event, e.IntentRecorded) and event.intent.role is OrderRole.STOP_LOSS
    ]
    parts = Parts(
        path=path,
        first=first.trade_id,
        second=f"{first.trade_id}.2",
        entry=filled.fill.client_order_id,
        closed_first=closed.fill.client_order_id,
    )
    with closing(open_writer(path, durable=False)) as connection:
        JournalWriter(connection, run_number=1).append(
            _second_part(first, filled.fill, closed.fill, stop.intent, parts, stamped_late)
        )
    return parts


def _second_part(
    first: e.TradeClosed,
    entered: FillReport,
    left: FillReport,
    stop: Intent,
    parts: Parts,
    stamped_late: bool,
) -> list[e.Event]:
    told_ms = first.closed_at_ms + 1_000
    late_ms = told_ms if stamped_late else first.closed_at_ms - 1
    closing_intent = attrs.evolve(
        stop,
        client_order_id=parts.closed_second,
        role=OrderRole.EXIT,
        type=OrderType.MARKET,
        trigger_price=None,
        quantity=D(60),
        intended_at_ms=told_ms + 1,
    )
    again = attrs.evolve(
        entered, execution_id="late", quantity=D(60), price=D("99.7"), at_ms=late_ms
    )
    out = attrs.evolve(
        left,
        execution_id="out",
        client_order_id=parts.closed_second,
        quantity=D(60),
        price=D("101.3"),
        at_ms=told_ms + 2,
    )
    second = attrs.evolve(
        first,
        cause_id=first.trade_id,
        trade_id=parts.second,
        quantity=D(60),
        opened_at_ms=late_ms,
        closed_at_ms=told_ms + 2,
        exit_reason=ExitReason.EXIT,
    )
    return [
        e.FillRecorded(at_ms=told_ms, fill=again, source=FillSource.STREAM),
        e.IntentRecorded(at_ms=told_ms + 1, intent=closing_intent),
        e.FillRecorded(at_ms=told_ms + 2, fill=out, source=FillSource.STREAM),
        second,
        equity_mark(told_ms + 3, D(10_000)),
    ]


async def page_of(path: Path, trade_id: str, client: Client) -> tuple[dict[str, Any], str]:
    """Return a trade's document and its page."""
    site = PublicSite(path, Site(mode=RunMode.DEMO), runner=inline)
    address = f"/trades/{trade_id}"
    async with client(site) as http:
        document = (await http.get(address, headers={"accept": "application/json"})).json()
        page = unescape((await http.get(address)).text)
    site.close()
    return document, page


def orders_in(document: dict[str, Any]) -> set[str]:
    return {order["client_order_id"] for order in document["orders"]}


async def test_a_trade_reopened_by_a_late_fill_shows_its_own_orders_and_their_causes(
    reopened: Parts, client: Client
) -> None:
    document, page = await page_of(reopened.path, reopened.second, client)
    assert orders_in(document) == {reopened.entry, reopened.closed_second}
    assert document["permit"]["signal_id"] == document["signal"]["signal_id"] == reopened.first
    assert document["cycle"] is not None
    assert reopened.entry in page
    assert "None on record" not in page
    assert ADOPTED not in page


@pytest.mark.parametrize("stamped_late", [True, False])
async def test_each_fill_is_on_the_page_of_the_part_whose_result_it_is_in(
    tmp_path: Path, client: Client, stamped_late: bool
) -> None:
    """The late fill may have a time before the first part was closed."""
    parts = reopen(tmp_path, stamped_late=stamped_late)
    first, _ = await page_of(parts.path, parts.first, client)
    second, _ = await page_of(parts.path, parts.second, client)
    assert [fill["quantity"] for fill in first["fills"]] == ["40", "40"]
    assert [fill["quantity"] for fill in second["fills"]] == ["60", "60"]
    assert parts.closed_second not in orders_in(first)
    assert {parts.entry, parts.closed_first} <= orders_in(first)


async def test_the_page_of_a_trade_without_orders_mentions_adoption_only_if_it_was_adopted(
    tmp_path: Path, client: Client
) -> None:
    path = tmp_path / "kamou.sqlite3"
    write_record(path, days=1, trades_per_day=1)
    with closing(open_writer(path)) as writer:
        writer.execute("DELETE FROM order_")
        (trade_id,) = writer.execute("SELECT trade_id FROM trade").fetchone()
        _, page = await page_of(path, trade_id, client)
        assert ADOPTED not in page
        writer.execute("UPDATE trade SET strategy = 'adopted'")
        _, page = await page_of(path, trade_id, client)
    assert ADOPTED in page
