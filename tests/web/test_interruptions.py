"""Halts, reduced sizes and downtime on the page: order, causes, operator's notes."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from decimal import Decimal
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from kamou.core.book.events import CycleClosed, Event, RunStarted, StateChanged
from kamou.core.book.operator_events import CommandRecorded
from kamou.core.codes import StateReason
from kamou.core.day import HOUR_MS
from kamou.core.kinds import RunMode
from kamou.core.model import Figure, TradingState
from kamou.store.database import open_writer
from kamou.store.journal import JournalWriter
from kamou.web.app import PublicSite
from kamou.web.site import Site
from tests.site_client import Client, inline
from tests.web.published_record import START_MS, equity_mark

NORMAL, REDUCED = TradingState.ACTIVE, TradingState.REDUCED_SIZE
HALTED, FLATTEN = TradingState.REDUCE_ONLY, TradingState.FLATTENING


def hour(number: float) -> int:
    return START_MS + int(number * HOUR_MS)


def changed(
    at: float, before: TradingState, after: TradingState, reason: str, note: str = ""
) -> StateChanged:
    figures = (Figure(name="note", value=note),) if note else ()
    cause = StateReason(reason)
    return StateChanged(at_ms=hour(at), before=before, after=after, reason=cause, figures=figures)


def closed(at: float) -> CycleClosed:
    return CycleClosed(
        at_ms=hour(at), cycle_at_ms=hour(at), positions=0, open_orders=0, drift=0, repaired=0
    )


def started(at: float, run_number: int) -> RunStarted:
    return RunStarted(
        at_ms=hour(at),
        run_number=run_number,
        mode=RunMode.DEMO,
        version="1",
        config_digest="d" * 64,
        config_json="{}",
        change_reason="",
    )


HISTORY: tuple[Event, ...] = (
    started(0, 1),
    changed(1, NORMAL, REDUCED, "DAY_LOSS_HALF"),
    changed(2, REDUCED, HALTED, "DAY_LOSS_LIMIT"),
    changed(3, HALTED, HALTED, "OPERATOR_HALT", "first look"),
    CommandRecorded(
        at_ms=hour(3.5), reason=StateReason.OPERATOR_HALT, note="second <b>look</b>\u202e"
    ),
    changed(4, HALTED, FLATTEN, "OPERATOR_FLATTEN", "enough"),
    changed(5, FLATTEN, HALTED, "OPERATOR_RESUME", "slowly"),
    changed(6, HALTED, REDUCED, "OPERATOR_RESUME", "back to work"),
    changed(24, REDUCED, NORMAL, "DAY_ROLLED"),
    changed(30, NORMAL, HALTED, "OPERATOR_HALT", "lunch"),
)


@pytest.fixture
def record_path(tmp_path: Path) -> Path:
    path = tmp_path / "kamou.sqlite3"
    with closing(open_writer(path, durable=False)) as connection:
        JournalWriter(connection, run_number=1).append(HISTORY)
        JournalWriter(connection, run_number=1).append(marks(31))
    return path


def marks(until: int) -> list[Event]:
    return [equity_mark(hour(at), Decimal(10_000 - at)) for at in range(until + 1)]


async def published(path: Path, demo: Site, client: Client) -> tuple[dict[str, Any], str]:
    async with client(PublicSite(path, demo, runner=inline)) as http:
        document = (await http.get("/results.json")).json()
        page = (await http.get("/results")).text
    return document, page


def rows_of(page: str) -> list[str]:
    table = page.partition('<table class="interruptions fold">')[2].partition("</table>")[0]
    rows = re.findall(r"<tr><th scope=\"row\">.*?</tr>", table, re.DOTALL)
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", row)).strip() for row in rows]


def raw_states(path: Path) -> list[tuple[int, dict[str, Any]]]:
    with closing(sqlite3.connect(path)) as connection:
        bodies = connection.execute(
            "SELECT seq, body FROM event WHERE kind = 'state_changed' ORDER BY seq"
        ).fetchall()
    return [(seq, json.loads(body)) for seq, body in bodies]


async def test_a_halt_is_one_period_from_its_first_step_to_its_end(
    record_path: Path, demo: Site, client: Client
) -> None:
    found, page = await published(record_path, demo, client)
    stopped = {"reduce_only", "flattening"}
    expected, since = [], None
    for _, body in raw_states(record_path):
        if since is None and body["after"] in stopped:
            since = body["at_ms"]
        elif since is not None and body["after"] not in stopped:
            expected.append((since, body["at_ms"]))
            since = None
    expected.append((since, None))
    assert [(h["from_ms"], h["until_ms"]) for h in found["halts"]] == expected
    assert found["halts_total"] == len(expected) == 2
    assert "halted (2)" in page


async def test_the_notes_of_halts_flattens_and_their_resumes_are_published_and_escaped(
    record_path: Path, demo: Site, client: Client
) -> None:
    found, page = await published(record_path, demo, client)
    halt, _ = found["halts"]
    assert [(step["reason"], step["note"]) for step in halt["steps"]] == [
        ("DAY_LOSS_LIMIT", ""),
        ("OPERATOR_HALT", "first look"),
        ("OPERATOR_HALT", "second <b>look</b>\u202e"),
        ("OPERATOR_FLATTEN", "enough"),
        ("OPERATOR_RESUME", "slowly"),
    ]
    assert (halt["end"]["reason"], halt["end"]["note"]) == ("OPERATOR_RESUME", "back to work")
    for note in ("first look", "enough", "slowly", "back to work", "lunch"):
        assert f"\u201c{note}\u201d" in page, note
    assert "second &lt;b&gt;look&lt;/b&gt;\\u202e" in page
    assert "\u202e" not in page


async def test_a_resume_is_the_cause_of_no_halt_and_of_no_reduced_size(
    record_path: Path, demo: Site, client: Client
) -> None:
    found, page = await published(record_path, demo, client)
    halts, reduced = found["halts"], found["reduced_size"]
    assert [(h["state"], h["reason"]) for h in halts] == [
        ("flattening", "OPERATOR_FLATTEN"),
        ("reduce_only", "OPERATOR_HALT"),
    ]
    assert [r["reason"] for r in reduced] == ["DAY_LOSS_HALF", "DAY_LOSS_HALF"]
    causes = re.findall(r'<td class="text why"><div>(.*?)</div>', page)
    assert not [cause for cause in causes if cause.startswith("resumed")]
    quoted = [row for row in rows_of(page) if "half of its limit: " in row]
    assert not quoted, "the words of the resume are not those of the day's loss"


async def test_results_list_the_periods_of_reduced_size_with_their_cause(
    record_path: Path, demo: Site, client: Client
) -> None:
    found, page = await published(record_path, demo, client)
    assert [(r["from_ms"], r["until_ms"]) for r in found["reduced_size"]] == [
        (hour(1), hour(2)),
        (hour(6), hour(24)),
    ]
    assert found["reduced_size_total"] == 2
    shown = [row for row in rows_of(page) if "trading at reduced size" in row]
    assert len(shown) == 2
    assert all("day's loss reached the limit for half size" in unescape(row) for row in shown)


async def test_halts_reduced_sizes_and_downtime_are_listed_by_time(
    record_path: Path, demo: Site, client: Client
) -> None:
    with closing(open_writer(record_path, durable=False)) as connection:
        writer = JournalWriter(connection, run_number=2)
        writer.append(
            [
                closed(31),
                started(40, 2),
                closed(40.01),
                changed(41, HALTED, NORMAL, "OPERATOR_RESUME"),
            ]
        )
        writer.append([changed(42, NORMAL, REDUCED, "DAY_LOSS_HALF"), *marks(43)[-1:]])
    _, page = await published(record_path, demo, client)
    begins = [re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d", row)[0] for row in rows_of(page)]  # type: ignore[index]  # a row without an instant fails the test
    assert begins == sorted(begins, reverse=True)
    kinds = [row for row in rows_of(page) if "downtime" in row]
    assert len(begins) == 6
    assert len(kinds) == 1


async def test_a_flatten_of_an_older_journal_outside_of_any_halt_is_listed_with_its_effect(
    record_path: Path, demo: Site, client: Client
) -> None:
    def said(at: float, reason: str, note: str) -> CommandRecorded:
        return CommandRecorded(at_ms=hour(at), reason=StateReason(reason), note=note)

    with closing(open_writer(record_path, durable=False)) as connection:
        writer = JournalWriter(connection, run_number=2)
        writer.append([changed(41, HALTED, NORMAL, "OPERATOR_RESUME"), *marks(43)[-1:]])
        writer.append(
            [said(42, "OPERATOR_FLATTEN", "storm"), said(42.5, "OPERATOR_RESUME", "over")]
        )
    _, page = await published(record_path, demo, client)
    did = {note: next(row for row in rows_of(page) if note in row) for note in ("storm", "over")}
    assert "flattened while no run was up" in did["storm"]
    assert "nothing changed" in did["over"]
