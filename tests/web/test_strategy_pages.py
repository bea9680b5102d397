"""``/strategies``: states and evidence, recomputed from the journal's events by definition."""

from __future__ import annotations

import json
import re
from contextlib import closing
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import attrs
import pytest

from kamou.core.kinds import RunMode
from kamou.store.database import migrate_journal, open_reader, open_writer
from kamou.store.journal import JournalWriter
from kamou.web.app import PublicSite
from kamou.web.site import Site
from tests.core.record.gate_by_definition import Line, day_of, figures
from tests.site_client import Client, inline
from tests.web.published_record import START_MS
from tests.web.shadow_record import started, write_shadow_record

BYTES_MAX = 100_000


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("shadows") / "kamou.sqlite3"
    write_shadow_record(made)
    return made


@pytest.fixture
def shadows(path: Path) -> PublicSite:
    return PublicSite(path, Site(mode=RunMode.DEMO), runner=inline)


def raw_lines(path: Path) -> dict[str, list[Line]]:
    """Return the closed shadow trades that count, by strategy, from the bodies of events.

    A day counts if it is over at the newest event and no trade of it, or of an earlier day, is
    open.
    """
    opened: dict[str, dict[str, Any]] = {}
    done: list[dict[str, Any]] = []
    with closing(open_reader(path)) as reader:
        for kind, body in reader.execute("SELECT kind, body FROM event ORDER BY seq"):
            document = json.loads(body)
            if kind == "shadow_trades_opened":
                opened |= {each["shadow_id"]: each for each in document["trades"]}
            elif kind == "shadow_trades_closed":
                done += document["trades"]
        (now_ms,) = reader.execute("SELECT max(at_ms) FROM event").fetchone()
    for each in done:
        del opened[each["shadow_id"]]
    found: dict[str, list[Line]] = {each["strategy"]: [] for each in done}
    for each in done:
        waiting = [o["opened_at_ms"] for o in opened.values() if o["strategy"] == each["strategy"]]
        if day_of(str(each["opened_at_ms"])) < min(map(day_of, map(str, (now_ms, *waiting)))):
            found[each["strategy"]].append(
                Line(
                    each["strategy"],
                    str(each["opened_at_ms"]),
                    str(each["closed_at_ms"]),
                    each["symbol"],
                    each["r"],
                    each["pnl"],
                )
            )
    return found


async def get(site: PublicSite, client: Client, address: str, *, as_json: bool = False) -> Any:
    accept = "application/json" if as_json else "text/html"
    async with client(site) as http:
        reply = await http.get(address, headers={"accept": accept})
    assert reply.status_code == 200, reply.text
    assert len(reply.content) < BYTES_MAX
    return reply.json() if as_json else unescape(reply.text)


async def test_every_figure_of_the_document_is_that_of_the_definition(
    shadows: PublicSite, client: Client, path: Path
) -> None:
    document = await get(shadows, client, "/strategies", as_json=True)
    lines = raw_lines(path)
    assert [each["strategy"] for each in document["strategies"]] == sorted(lines)
    for each in document["strategies"]:
        right = figures(lines[each["strategy"]], equity=10_000, m0="0.05", attempt=1)
        shown = each["evaluation"]
        assert (shown["n"], shown["blocks"], shown["symbols"]) == right[:3]
        assert shown["e_value_blocks"] == pytest.approx(float(right.e_value_blocks))
        assert shown["e_value"] == pytest.approx(float(right.e_value))
        assert shown["sharpe_daily_annualised"] == pytest.approx(right.sharpe)
        assert right.expectancy_r is not None
        assert shown["expectancy_r"] == pytest.approx(float(right.expectancy_r))
        assert shown["original_rule_passes"] is right.original
        assert each["open"] == (0 if each["strategy"] == "ratio_fade" else 6)


async def test_the_page_of_a_strategy_shows_each_block_with_the_e_value_after_it(
    shadows: PublicSite, client: Client, path: Path
) -> None:
    text = await get(shadows, client, "/strategies/oi_momentum")
    lines = raw_lines(path)["oi_momentum"]
    days = sorted({day_of(line.opened_at_ms) for line in lines})
    rows = re.findall(r'<th scope="row">([0-9-]{10})</th>(.*?)</tr>', text)
    assert [day for day, _ in rows] == [str(day) for day in reversed(days[-60:])]
    for day, cells in rows[::7]:
        until = [x for x in lines if str(day_of(x.opened_at_ms)) <= day]
        right = figures(until, equity=10_000, m0="0.05", attempt=1)
        assert f">{float(right.e_value_blocks):,.3f}<" in cells
    assert "The newest 60 of" in text


async def test_states_stand_on_the_list_on_each_page_and_on_the_results(
    shadows: PublicSite, client: Client
) -> None:
    states = {
        "funding_fade": "Live: full size",
        "mean_reversion": "Shadow: no real trades",
        "ratio_fade": "Halted for good",
    }
    listed = await get(shadows, client, "/strategies")
    results = await get(shadows, client, "/results")
    for name, state in states.items():
        assert f"<strong>{state}" in await get(shadows, client, f"/strategies/{name}")
        for text in (listed, results):
            row = re.search(rf'href="/strategies/{name}".*?</tr>', text)
            assert row is not None
            assert state.casefold() in row[0].casefold()
    assert "no order was sent and no money moved" in results


async def test_changes_stand_with_statistic_threshold_and_hash(
    shadows: PublicSite, client: Client
) -> None:
    text = await get(shadows, client, "/strategies/funding_fade")
    document = await get(shadows, client, "/strategies/funding_fade", as_json=True)
    assert [each["to_state"] for each in document["changes"]][:2] == ["CANARY", "LIVE"]
    for change in document["changes"]:
        at = datetime.fromtimestamp(change["at_ms"] / 1000, UTC)
        assert f"{at:%Y-%m-%d %H:%M}" in text
        assert change["data_hash"] in text
        assert all(figure["value"] in text for figure in change["figures"])


async def test_a_ruined_strategy_says_which_loss_halted_it(
    shadows: PublicSite, client: Client
) -> None:
    text = await get(shadows, client, "/strategies/ratio_fade")
    assert re.search(r"a trade in S\d\dUSDT that opened on .* has -4.5 R, below -4 R", text)


@pytest.mark.parametrize("name", ["nobody", "%3Cscript%3E", "a" * 300, "%00"])
async def test_an_unknown_strategy_is_not_found(
    shadows: PublicSite, client: Client, name: str
) -> None:
    async with client(shadows) as http:
        for accept in ("text/html", "application/json"):
            reply = await http.get(f"/strategies/{name}", headers={"accept": accept})
            assert reply.status_code == 404
            assert "<script>" not in reply.text


def write_start(path: Path, gate: str) -> PublicSite:
    migrate_journal(path)
    with closing(open_writer(path, durable=False)) as connection:
        JournalWriter(connection, run_number=1).append([started(START_MS, gate, ("macro", "own"))])
    return PublicSite(path, Site(mode=RunMode.DEMO), runner=inline)


async def test_a_record_with_the_assumed_gate_says_so_and_has_no_strategy_at_the_gate(
    tmp_path: Path, client: Client
) -> None:
    site = write_start(tmp_path / "kamou.sqlite3", "assumed")
    text = await get(site, client, "/strategies")
    assert "No strategy is at the gate" in text
    assert "the gate is assumed live" in text
    assert (await get(site, client, "/strategies", as_json=True))["strategies"] == []


async def test_an_enabled_strategy_without_a_shadow_trade_stands_in_shadow_and_lacks_all(
    tmp_path: Path, client: Client
) -> None:
    site = write_start(tmp_path / "kamou.sqlite3", "earned")
    found = (await get(site, client, "/strategies", as_json=True))["strategies"]
    assert [(each["strategy"], each["state"], each["open"]) for each in found] == [
        ("macro", "SHADOW", 0),
        ("own", "SHADOW", 0),
    ]
    assert all(each["evaluation"]["n"] == 0 and len(each["lacks"]) > 3 for each in found)
    assert "shadow: no real trades" in await get(site, client, "/strategies")
    assert "No block counts yet" in await get(site, client, "/strategies/macro")
    async with client(site) as http:
        assert (await http.get("/strategies/mean_reversion")).status_code == 404


@pytest.mark.parametrize(
    ("edges", "banner"),
    [
        ("by_seed", "Demo: simulated market with planted edges, and simulated money."),
        ("none", "Demo: simulated market and simulated money."),
    ],
)
async def test_the_banner_of_a_demo_says_if_its_market_has_planted_edges(
    tmp_path: Path, client: Client, edges: str, banner: str
) -> None:
    path = tmp_path / "kamou.sqlite3"
    migrate_journal(path)
    begun = attrs.evolve(started(START_MS), config_json=f'{{"demo.edges":"{edges}"}}')
    with closing(open_writer(path, durable=False)) as connection:
        JournalWriter(connection, run_number=1).append([begun])
    site = PublicSite(path, Site(mode=RunMode.DEMO), runner=inline)
    for address in ("/", "/results", "/strategies"):
        assert banner in await get(site, client, address)
