"""``worst_case_r`` is net PnL over the permit's worst case of the filled part."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from contextlib import closing
from decimal import ROUND_HALF_EVEN
from decimal import Decimal as D
from fractions import Fraction
from html import unescape
from pathlib import Path
from typing import Any

import attrs
import pytest

from kamou.core.book import events as e
from kamou.core.book.late_events import ResultCorrected
from kamou.core.kinds import RunMode
from kamou.messages.codec import decode
from kamou.store.database import open_writer
from kamou.store.journal import JournalWriter
from kamou.web.app import PublicSite
from kamou.web.format import DASH, MINUS
from kamou.web.site import Site
from tests.site_client import Client, inline
from tests.web.histories import History, trade
from tests.web.published_record import START_MS, equity_mark, write_record

JSON = {"accept": "application/json"}
STEP = D("0.000000000001")  # as R is rounded


def recomputed(path: Path) -> dict[str, float | None]:
    """Return ``worst_case_r`` by trade id, from the rows of ``event``, in fractions.

    Trades that closed after the newest equity snapshot are left out.
    """
    as_of_ms = 0
    permits: dict[str, dict[str, Any]] = {}
    entries: dict[str, dict[str, Any]] = {}  # intents of entry orders by client order id
    filled: dict[str, Fraction] = defaultdict(Fraction)  # of the permit's contracts, by trade id
    permit_of: dict[str, str] = {}
    found: dict[str, tuple[int, float | None]] = {}
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT kind, body FROM event ORDER BY seq").fetchall()
    for kind, raw in rows:
        body = json.loads(raw)
        if kind == "permit_granted":
            permits[body["permit_id"]] = body["plan"]
        elif kind == "intent_recorded" and body["intent"]["role"] == "entry":
            entries[body["intent"]["client_order_id"]] = body["intent"]
        elif kind == "fill_recorded" and body["fill"]["client_order_id"] in entries:
            intent = entries[body["fill"]["client_order_id"]]
            filled[intent["trade_id"]] += Fraction(body["fill"]["quantity"])
            permit_of[intent["trade_id"]] = intent["permit_id"]
        elif kind == "equity_recorded":
            as_of_ms = max(as_of_ms, body["at_ms"])
        elif kind == "trade_closed":
            found[body["trade_id"]] = (body["closed_at_ms"], None)
            if body["r_multiple"] is not None:
                plan = permits[permit_of[body["cause_id"]]]
                part = filled[body["cause_id"]] / Fraction(plan["quantity"])
                ratio = Fraction(body["pnl_net"]) / (Fraction(plan["risk"]) * part)
                exact = D(ratio.numerator) / D(ratio.denominator)
                value = float(exact.quantize(STEP, ROUND_HALF_EVEN))
                found[body["trade_id"]] = (body["closed_at_ms"], value)
    return {
        name: value for name, (closed_at_ms, value) in found.items() if closed_at_ms <= as_of_ms
    }


async def published(path: Path, client: Client) -> list[dict[str, Any]]:
    """Return every trade of ``/trades`` as JSON, newest first."""
    site = PublicSite(path, Site(mode=RunMode.DEMO), runner=inline)
    made: list[dict[str, Any]] = []
    address: str | None = "/trades"
    async with client(site) as http:
        while address is not None:
            document = (await http.get(address, headers=JSON)).json()
            made += document["trades"]
            address = document["older_url"]
    site.close()
    return made


@pytest.fixture
def traded(tmp_path: Path) -> Path:
    """Return the journal of a traded history."""
    trade(History(name="two days", seed=10, runs=((3.0, 50.0),)), tmp_path)
    return tmp_path / "kamou.sqlite3"


async def test_worst_case_r_of_a_traded_history_follows_from_its_events(
    traded: Path, client: Client
) -> None:
    wanted = recomputed(traded)
    found = {each["trade_id"]: each["worst_case_r"] for each in await published(traded, client)}
    assert len(found) > 20
    assert found == wanted
    assert any(value is not None and value < 0 for value in found.values())


@pytest.fixture
def half_filled(tmp_path: Path) -> Path:
    """Return the journal of a closed trade whose entry filled 10 of 40 contracts.

    The contract size has halved since: the result says 20 contracts of 0.5.
    """
    whole, path = tmp_path / "whole.sqlite3", tmp_path / "half.sqlite3"
    write_record(whole, days=1, trades_per_day=1)
    with closing(sqlite3.connect(whole)) as connection:
        rows = connection.execute("SELECT kind, body FROM event ORDER BY seq").fetchall()
    kinds = {"permit_granted": e.PermitGranted, "intent_recorded": e.IntentRecorded}
    kinds |= {"run_started": e.RunStarted, "equity_recorded": e.EquityRecorded}
    kinds |= {"fill_recorded": e.FillRecorded, "trade_closed": e.TradeClosed}
    made: list[e.Event] = []
    for kind, body in rows:
        event = decode(kinds[kind], body) if kind in kinds else None
        if isinstance(event, e.FillRecorded):
            event = attrs.evolve(event, fill=attrs.evolve(event.fill, quantity=D(10)))
        if isinstance(event, e.TradeClosed):
            event = attrs.evolve(
                event, quantity=D(20), contract_size=D("0.5"), pnl_net=D("-12.30"), r_multiple=D(-1)
            )
        made += [event] if event is not None else []
    writer = JournalWriter(open_writer(path, durable=False), run_number=1)
    writer.append(made)
    return path


async def test_a_partly_filled_entry_counts_its_share_of_the_worst_case_after_a_new_contract_size(
    half_filled: Path, client: Client
) -> None:
    (found,) = await published(half_filled, client)
    assert found["contract_size"] == "0.5"
    assert found["worst_case_r"] == -0.5  # -12.30 / (98.40 x 10 / 40)
    site = PublicSite(half_filled, Site(mode=RunMode.DEMO), runner=inline)
    async with client(site) as http:
        address = f"/trades/{found['trade_id']}"
        alone = (await http.get(address, headers=JSON)).json()["trade"]
        page = unescape((await http.get(address)).text)
    assert alone["worst_case_r"] == -0.5
    assert f'<dt>Net over worst case</dt><dd class="loss">{MINUS}0.500</dd>' in page
    site.close()


async def test_a_late_payment_is_part_of_worst_case_r(half_filled: Path, client: Client) -> None:
    (before,) = await published(half_filled, client)
    late = ResultCorrected(
        at_ms=START_MS,
        cause_id=before["trade_id"],
        trade_id=before["trade_id"],
        number=1,
        added=D("2.46"),
        funding=D("2.34"),
        pnl_net=D("-9.84"),
        r_multiple=D("-0.8"),
    )
    JournalWriter(open_writer(half_filled, durable=False), run_number=1).append([late])
    (after,) = await published(half_filled, client)
    assert after["worst_case_r"] == -0.4


async def test_worst_case_r_of_a_trade_reopened_by_a_late_fill_uses_its_share_of_the_permit(
    half_filled: Path, client: Client
) -> None:
    with closing(sqlite3.connect(half_filled)) as connection:
        (closed,) = connection.execute("SELECT body FROM event WHERE kind = 'trade_closed'")
        (fill, *_) = connection.execute("SELECT body FROM event WHERE kind = 'fill_recorded'")
    first, entry = decode(e.TradeClosed, closed[0]), decode(e.FillRecorded, fill[0])
    later_ms = first.closed_at_ms + 1_000
    again = attrs.evolve(
        entry,
        fill=attrs.evolve(entry.fill, execution_id="late", quantity=D(4), at_ms=later_ms),
    )
    second = attrs.evolve(
        first,
        trade_id=f"{first.trade_id}.2",
        quantity=D(4),
        contract_size=D(1),
        pnl_net=D("2.46"),
        r_multiple=D("0.3"),
        opened_at_ms=later_ms,
        closed_at_ms=later_ms + 1_000,
    )
    mark = equity_mark(later_ms + 2_000, D(10_000))
    JournalWriter(open_writer(half_filled, durable=False), run_number=1).append(
        [again, second, mark]
    )
    newest, _ = await published(half_filled, client)
    assert newest["trade_id"] == second.trade_id
    assert newest["worst_case_r"] == 0.25  # 2.46 / (98.40 x 4 / 40)


async def test_a_trade_without_r_has_no_worst_case_r(half_filled: Path, client: Client) -> None:
    with closing(sqlite3.connect(half_filled)) as connection:
        connection.execute("UPDATE trade SET r_multiple = NULL")
        connection.commit()
    (found,) = await published(half_filled, client)
    assert found["worst_case_r"] is None
    site = PublicSite(half_filled, Site(mode=RunMode.DEMO), runner=inline)
    async with client(site) as http:
        page = unescape((await http.get(f"/trades/{found['trade_id']}")).text)
        assert f'<dt>Net over worst case</dt><dd class="flat">{DASH}</dd>' in page
        assert "worst_case_r" in (await http.get("/how-it-works")).text
    site.close()
