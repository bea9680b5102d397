"""Figures and lists of a page are as of the newest equity snapshot."""

from __future__ import annotations

import re
from contextlib import closing
from decimal import Decimal as D
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest

from kamou.core.book import events as e
from kamou.core.book.candidate_events import (
    CandidatesRefined,
    CandidatesVetoed,
    DeniedEntry,
    EntriesDenied,
    VetoedCandidate,
)
from kamou.core.book.operator_events import CommandRecorded
from kamou.core.codes import StateReason
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.kinds import RefinerVerdict, RunMode
from kamou.core.model import OrderRole, TradingState
from kamou.store.database import open_reader, open_writer
from kamou.store.journal import JournalWriter, read_events
from kamou.web.app import PublicSite
from kamou.web.site import Site
from tests.site_client import Client, inline
from tests.web.published_record import START_MS, equity_mark, write_record

DAYS = 16
PAGES = (
    "/",
    "/results",
    "/results.json",
    "/trades",
    "/trades?outcome=win",
    "/trades?strategy=mean_reversion&outcome=loss",
)
HEAD = re.compile(r'"journal_seq":\d+|<dt>Journal entry</dt><dd>\d+</dd>')


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "kamou.sqlite3"
    write_record(path, days=DAYS)
    return path


def refusals(refined: CandidatesRefined, at_ms: int) -> list[e.Event]:
    """Return refusals of each tier; events of several have one that is none, or two."""
    (known,) = refined.candidates
    late = attrs.evolve(known, candidate=attrs.evolve(known.candidate, signal_id="late"))
    denied = DeniedEntry(
        at_ms=at_ms,
        permit_id="late.1",
        signal_id="late",
        strategy="oi_momentum",
        symbol="BTCUSDT",
        denials=(),
    )
    vetoed = VetoedCandidate(signal_id="late", strategy="oi_momentum", symbol="BTCUSDT", denials=())
    return [
        CandidatesVetoed(at_ms=at_ms, candidates=(vetoed, vetoed)),
        attrs.evolve(
            refined,
            at_ms=at_ms,
            candidates=(
                attrs.evolve(late, verdict=RefinerVerdict.REFUSE, reason_code="NO"),
                attrs.evolve(known, candidate=attrs.evolve(known.candidate, signal_id="later")),
            ),
        ),
        EntriesDenied(at_ms=at_ms, entries=(denied, denied)),
        e.PermitDenied(
            at_ms=at_ms,
            signal_id="late",
            permit_id="late.0",
            strategy="oi_momentum",
            symbol="BTCUSDT",
            role=OrderRole.ENTRY,
            denials=(),
        ),
    ]


def later(path: Path) -> list[e.Event]:
    """Return events after a snapshot, one of each kind that a page counts."""
    with closing(open_reader(path)) as reader:
        events = [committed.event for committed in read_events(reader, 0)]
    snapshot_ms = max(each.at_ms for each in events if isinstance(each, e.EquityRecorded))
    trade = next(each for each in reversed(events) if isinstance(each, e.TradeClosed))
    moved = snapshot_ms + 60_000 - trade.closed_at_ms
    chain = events[max(i for i, each in enumerate(events) if isinstance(each, e.CycleRanked)) :]
    ranked, refined = chain[0], chain[1]
    assert isinstance(ranked, e.CycleRanked)
    assert isinstance(refined, CandidatesRefined)
    at_ms = snapshot_ms + 70_000
    return [
        attrs.evolve(ranked, at_ms=at_ms, cycle_at_ms=at_ms),
        *refusals(refined, at_ms),
        attrs.evolve(
            trade,
            at_ms=trade.at_ms + moved,
            trade_id="late",
            closed_at_ms=trade.closed_at_ms + moved,
            pnl_net=D("17.5"),
            strategy="a_new_one",
        ),
        attrs.evolve(
            trade,
            at_ms=trade.at_ms + moved,
            trade_id="lost",
            closed_at_ms=trade.closed_at_ms + moved,
        ),
        *changes_of_state(at_ms),
        CommandRecorded(at_ms=at_ms, reason=StateReason.OPERATOR_HALT, note="once more"),
        e.RunStarted(
            at_ms=at_ms + HOUR_MS,
            run_number=3,
            mode=RunMode.DEMO,
            version="1",
            config_digest="e" * 64,
            config_json='{"cycle.period_s":300}',
            change_reason="later",
        ),
        e.CycleClosed(
            at_ms=at_ms + 30 * HOUR_MS,
            cycle_at_ms=at_ms + 30 * HOUR_MS,
            positions=0,
            open_orders=0,
            drift=0,
            repaired=0,
        ),
    ]


def changes_of_state(at_ms: int) -> list[e.Event]:
    """Return a step down of the trading state, and a second one by the operator."""
    states = (TradingState.ACTIVE, TradingState.REDUCED_SIZE, TradingState.REDUCE_ONLY)
    reasons = (StateReason.DAY_LOSS_HALF, StateReason.OPERATOR_HALT)
    return [
        e.StateChanged(at_ms=at_ms, before=before, after=after, reason=reason)
        for (before, after), reason in zip(pairwise(states), reasons, strict=True)
    ]


async def pages_of(path: Path, demo: Site, client: Client) -> dict[str, str]:
    async with client(PublicSite(path, demo, runner=inline)) as http:
        return {page: HEAD.sub("", (await http.get(page)).text) for page in PAGES}


async def test_no_figure_list_or_count_has_an_event_after_the_newest_snapshot(
    record: Path, demo: Site, client: Client
) -> None:
    before = await pages_of(record, demo, client)
    since = later(record)
    with closing(open_writer(record, durable=False)) as connection:
        for event in since:
            run_number = 3 if event.at_ms > since[0].at_ms + HOUR_MS // 2 else 2
            JournalWriter(connection, run_number=run_number).append([event])
    after = await pages_of(record, demo, client)
    assert [page for page in PAGES if before[page] != after[page]] == []


async def test_the_next_equity_snapshot_brings_earlier_events_to_results_and_trades(
    record: Path, demo: Site, client: Client
) -> None:
    since = later(record)
    with closing(open_writer(record, durable=False)) as connection:
        writer = JournalWriter(connection, run_number=3)
        writer.append(since)
        at_ms = START_MS + (DAYS + 5) * DAY_MS
        mark = equity_mark(at_ms)
        writer.append([mark])
    async with client(PublicSite(record, demo, runner=inline)) as http:
        found = (await http.get("/results.json")).json()
        trades = (await http.get("/trades")).text
    assert found["as_of_ms"] == at_ms
    assert found["trades_total"] == 2 * DAYS + 2
    assert {s["name"] for s in found["strategies"]} >= {"a_new_one"}
    assert f"{2 * DAYS + 2} closed trades" in trades
    assert (found["state"], found["reduced_size_total"], found["halts_total"]) == (
        "reduce_only",
        1,
        2,
    )
    assert found["config_digest"] == "e" * 64
    assert found["downtime"][-1]["until_ms"] == since[-1].at_ms
    assert found["halts"][-1]["steps"][-1]["note"] == "once more"


async def shown(path: Path, demo: Site, client: Client) -> tuple[dict[str, Any], list[str], str]:
    """Return the results, closed trades on two other pages, and the front page."""
    async with client(PublicSite(path, demo, runner=inline)) as http:
        found = (await http.get("/results.json")).json()
        front, trades = (await http.get("/")).text, (await http.get("/trades")).text
    counted = re.search(r"<dt>Closed trades</dt><dd>(\d+)</dd>", front)
    listed = re.search(r"(\d+) closed trades", trades)
    assert counted is not None
    assert listed is not None
    return found, [counted[1], listed[1]], front


async def test_results_and_two_pages_count_a_trade_closed_before_the_snapshot_and_recorded_later(
    record: Path, demo: Site, client: Client
) -> None:
    """The stop of the trade filled while nothing ran; the next run learns of it."""
    with closing(open_reader(record)) as reader:
        events = [committed.event for committed in read_events(reader, 0)]
    snapshot_ms = max(each.at_ms for each in events if isinstance(each, e.EquityRecorded))
    trade = next(each for each in reversed(events) if isinstance(each, e.TradeClosed))
    learned = attrs.evolve(
        trade, at_ms=snapshot_ms + 70_000, trade_id="learned", closed_at_ms=snapshot_ms - 70_000
    )
    with closing(open_writer(record, durable=False)) as connection:
        JournalWriter(connection, run_number=2).append([learned])
    found, counted, _ = await shown(record, demo, client)
    assert found["trades_total"] == 2 * DAYS + 1
    assert counted == [str(2 * DAYS + 1)] * 2


async def test_results_leave_out_events_after_the_read_of_the_newest_equity_snapshot(
    record: Path, demo: Site, client: Client
) -> None:
    """A snapshot has the time of its read; later events may be committed before it."""
    with closing(open_reader(record)) as reader:
        events = [committed.event for committed in read_events(reader, 0)]
    mark = next(each for each in reversed(events) if isinstance(each, e.EquityRecorded))
    read = attrs.evolve(mark, at_ms=mark.at_ms + 60_000)
    meanwhile = [
        each for each in later(record) if read.at_ms < each.at_ms < read.at_ms + HOUR_MS // 2
    ]
    assert {type(each) for each in meanwhile} > {
        e.StateChanged,
        e.PermitDenied,
        e.CycleRanked,
        EntriesDenied,
        CandidatesVetoed,
    }
    with closing(open_writer(record, durable=False)) as connection:
        JournalWriter(connection, run_number=2).append([read])
    before = await shown(record, demo, client)
    again = attrs.evolve(read, at_ms=read.at_ms + 1)
    with closing(open_writer(record, durable=False)) as connection:
        JournalWriter(connection, run_number=2).append([*meanwhile, again])
    after = await shown(record, demo, client)
    for name in (
        "halts",
        "halts_total",
        "reduced_size",
        "reduced_size_total",
        "trades_total",
        "state",
    ):
        assert after[0][name] == before[0][name], name
    assert after[1] == before[1]
    numbers = re.compile(r"<dt>([^<]+)</dt><dd>([\d,]+)</dd>")
    assert numbers.findall(HEAD.sub("", after[2])) == numbers.findall(HEAD.sub("", before[2]))
