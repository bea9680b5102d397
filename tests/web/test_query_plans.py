"""Query plans: two statements, once per daily row, scan a table that grows."""

from __future__ import annotations

import functools
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import attrs
import pytest

from kamou.core.book.events import RunStopped
from kamou.core.day import DAY_MS
from kamou.core.kinds import RunEnd, RunMode
from kamou.store import database, public_queries, queries
from kamou.store.day_rows import add_up_open_row
from kamou.store.journal import JournalWriter
from kamou.web.app import ROUTES
from kamou.web.daily_figures import Memo
from kamou.web.pages.base import PageRequest
from kamou.web.render import load_templates
from kamou.web.site import Site
from tests.core.shadow_cases import closed, closed_shadow, opened, shadow_trade
from tests.web.published_record import START_MS, write_record

BOUNDED = {
    # table: why a scan of it is no scan of the history
    "total": "one row for each name",
    "strategy_total": "one row for each strategy",
    "trade_count": "one row for each strategy, symbol and outcome",
    "curve": "at most 360 rows; see store/projected_curve.py",
    "curve_mark": "at most four rows for each of the curve's",
    "curve_width": "one row",
    "open_trade": "one row for each open position",
    "gate_change": "a few rows for each strategy",
    "named": "one row for each strategy",
    "CONSTANT": "one row of values",
}
ONCE_A_DAY = (
    # statements of web/daily_figures.py, executed again only after a daily row was written
    re.compile(r"FROM day ORDER BY day$"),
    re.compile(r"FROM day d CROSS JOIN day_strategy"),
)
SCAN = re.compile(r"^SCAN (\w+)")
SHORT, LONG = 30, 300  # days


@attrs.define
class Seen:
    """The statements of a connection, and the number of steps of SQLite, in tens."""

    statements: list[str] = attrs.field(factory=list)
    steps: int = 0

    def clear(self) -> None:
        self.statements.clear()
        self.steps = 0


def watched(path: Path) -> tuple[sqlite3.Connection, Seen]:
    reader, seen = database.open_reader(path), Seen()

    def step() -> None:
        seen.steps += 1

    reader.set_trace_callback(seen.statements.append)
    reader.set_progress_handler(step, 10)
    return reader, seen


def walks(reader: sqlite3.Connection, statement: str) -> list[str]:
    """Return the tables that a statement scans."""
    reader.set_trace_callback(None)
    if not statement.lstrip().upper().startswith("SELECT"):
        return []
    plan = [row[3] for row in reader.execute(f"EXPLAIN QUERY PLAN {statement}")]
    cut_short = "LIMIT" in statement and not any("TEMP B-TREE" in line for line in plan)
    plan = [line for line in plan if "USING INDEX order_open" not in line]  # open ones only
    found = [match[1] for line in plan if (match := SCAN.match(line))]
    return [] if cut_short else [table for table in found if table not in BOUNDED]


def asked(
    reader: sqlite3.Connection, memo: Memo, *, trade_id: str
) -> dict[str, Callable[[], object]]:
    """Return a function for every page of the routes with the parameters it reads."""
    site = Site(mode=RunMode.DEMO)
    templates = load_templates(site)
    middle = queries.query_trades(reader, limit=40)[-1].cursor
    place = f"{middle.closed_at_ms}-{middle.rowid}"
    of_trades: list[dict[str, str]] = [
        {},
        {"before": place},
        {"after": place},
        {"outcome": "loss"},
        {"strategy": "oi_momentum"},
        {"symbol": "BTCUSDT", "before": place},
        {"strategy": "oi_momentum", "outcome": "win", "before": place},
        {"symbol": "BTCUSDT", "outcome": "loss"},
        {"symbol": "BTCUSDT", "strategy": "mean_reversion", "outcome": "loss"},
    ]
    queried: dict[str, list[dict[str, str]]] = {
        "/trades": of_trades,
        "/api/v1/public/trades": of_trades,
        "/days": [{}, {"before": "2025-08-20"}],
        "/api/v1/public/days": [{}, {"before": "2025-08-20", "limit": "20"}],
    }
    made: dict[str, Callable[[], object]] = {}
    for row in ROUTES:
        for number, query in enumerate(queried.get(row.path, [{}])):
            request = PageRequest(
                reader=reader,
                site=site,
                templates=templates,
                memo=memo,
                path={"trade_id": trade_id, "name": "oi_momentum"},
                query=query,
                json=False,
            )
            made[f"{row.path} {number}"] = functools.partial(row.render, request)
    return made


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Write seeded records of 30 and of 300 days; return their paths by days."""
    folder = tmp_path_factory.mktemp("plans")
    found = {days: folder / f"{days}.sqlite3" for days in (SHORT, LONG)}
    for days, path in found.items():
        write_record(path, days=days, trades_per_day=6, down_days=2, flow_day=4)
        add_shadow_trades(path, days=days)
    return found


def add_shadow_trades(path: Path, *, days: int) -> None:
    """Add a closed shadow trade a day to a record."""
    with closing(database.open_writer(path, durable=False)) as connection:
        trades = [
            shadow_trade(f"shadow{day}", opened_at_ms=START_MS + day * DAY_MS)
            for day in range(days)
        ]
        JournalWriter(connection, run_number=2).append(
            [opened(*trades), closed(*map(closed_shadow, trades))]
        )


def new_head(path: Path) -> None:
    with closing(database.open_writer(path)) as connection:
        JournalWriter(connection, run_number=2).append(
            [RunStopped(at_ms=START_MS + 999 * DAY_MS, run_number=2, reason=RunEnd.STOPPED)]
        )


def test_no_page_scans_a_growing_table_more_than_once_per_daily_row(
    records: dict[int, Path],
) -> None:
    reader, seen = watched(records[SHORT])
    memo = Memo()
    trade_id = queries.query_trades(reader, limit=1)[0].trade_id
    for page in asked(reader, memo, trade_id=trade_id).values():
        page()
    first = list(seen.statements)
    assert [s for s in first if any(form.search(s) for form in ONCE_A_DAY)]
    new_head(records[SHORT])
    seen.clear()
    for page in asked(reader, memo, trade_id=trade_id).values():
        page()
    again = list(seen.statements)
    assert len(again) > 60
    assert not [s for s in again if any(form.search(s) for form in ONCE_A_DAY)]
    found = {statement: walks(reader, statement) for statement in again}
    assert not {statement: tables for statement, tables in found.items() if tables}
    once = {
        statement: walks(reader, statement)
        for statement in first
        if not any(form.search(statement) for form in ONCE_A_DAY)
    }
    assert not {statement: tables for statement, tables in once.items() if tables}
    reader.close()


def test_a_page_takes_at_most_half_more_steps_after_ten_months_than_after_one(
    records: dict[int, Path],
) -> None:
    steps: dict[int, dict[str, int]] = {}
    for days, path in records.items():
        reader, seen = watched(path)
        memo = Memo()
        trade_id = queries.query_trades(reader, limit=1)[0].trade_id
        pages = asked(reader, memo, trade_id=trade_id)
        memo.daily(reader)
        pages["/strategies 0"]()  # what is kept until a shadow trade opens or closes
        steps[days] = {}
        for name, page in pages.items():
            seen.clear()
            page()
            steps[days][name] = seen.steps
        reader.close()
    # A month has too few trades to fill a page of some filters; a full page is the limit of those.
    before = {
        name: max(taken, steps[SHORT][f"{name.split()[0]} 0"]) if "/trades " in name else taken
        for name, taken in steps[SHORT].items()
    }
    grown = {
        name: (before[name], after)
        for name, after in steps[LONG].items()
        if after > 1.5 * before[name] + 10
    }
    assert not grown


def test_queries_of_the_commands_scan_no_growing_table(
    records: dict[int, Path],
) -> None:
    reader, seen = watched(records[SHORT])
    seen.clear()
    queries.query_latest(reader)
    queries.query_open_trades(reader)
    queries.query_open_orders(reader)
    queries.query_cycles(reader)
    queries.query_scan_details(reader)
    queries.query_signals(reader, symbol="BTCUSDT")
    queries.query_refusals(reader, symbol="BTCUSDT")
    add_up_open_row(reader)
    public_queries.newest_days(reader, limit=9)
    found = {statement: walks(reader, statement) for statement in list(seen.statements)}
    assert not {statement: tables for statement, tables in found.items() if tables}
    reader.close()


def test_the_check_for_scans_finds_a_scan(records: dict[int, Path]) -> None:
    reader = database.open_reader(records[SHORT])
    assert walks(reader, "SELECT count(*) FROM trade") == ["trade"]
    assert walks(reader, "SELECT * FROM fill ORDER BY price LIMIT 5") == ["fill"]
    assert walks(reader, "SELECT * FROM trade ORDER BY closed_at_ms DESC LIMIT 5") == []
    assert walks(reader, "SELECT * FROM curve") == []
    reader.close()
