"""An older database is brought up to date, as if its rows had been written event by event."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal as D
from pathlib import Path

import attrs
import pytest
import random_record as by_definition
import story
from hypothesis import HealthCheck, given, settings

from kamou.core.book import events as e
from kamou.core.model import OrderSide
from kamou.errors import StoreError
from kamou.store import database, migrations, queries, record_rebuild
from kamou.store.journal import JournalWriter

FIRST = "0001_journal_and_read_models"
MADE = (
    "run",
    "trade",
    "boundary",
    "day",
    "day_strategy",
    "month",
    "curve",
    "curve_width",
    "curve_mark",
    "total",
    "strategy_total",
    "trade_count",
    "downtime",
    "open_trade",
)


@contextmanager
def older(connection: sqlite3.Connection, path: Path | str) -> Iterator[sqlite3.Connection]:
    """The same history in a database of the first schema."""
    with closing(sqlite3.connect(path, isolation_level=None)) as made:
        with pytest.MonkeyPatch.context() as patch:
            only = {FIRST: migrations.MIGRATIONS[FIRST]}
            patch.setattr(migrations, "MIGRATIONS", only)
            migrations.apply(made)
        tables = [
            row[0]
            for row in made.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if not row[0].startswith(("_sqlite", "sqlite_")) and row[0] != "day"
        ]
        for table in tables:
            columns = [row[1] for row in made.execute(f"PRAGMA table_info({table})")]
            names = ", ".join(f'"{name}"' for name in columns)
            # The first schema had a number for R where the newest has none.
            wanted = names.replace('"r_multiple"', "coalesce(r_multiple, 397.5)")
            rows = connection.execute(f"SELECT {wanted} FROM {table} ORDER BY rowid").fetchall()
            marks = ", ".join("?" * len(columns))
            made.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)
        yield made


@contextmanager
def second(history: list[e.Event], path: Path | str) -> Iterator[sqlite3.Connection]:
    """A database of the second schema, as its own version filled it: adopted trades with an R."""
    numbered = [
        attrs.evolve(each, r_multiple=D("397.5"))
        if isinstance(each, e.TradeClosed) and each.r_multiple is None
        else each
        for each in history
    ]
    with closing(database.open_writer(database.MEMORY)) as written:
        JournalWriter(written, generation=1).append(numbered)
        with closing(sqlite3.connect(path, isolation_level=None)) as made:
            names = tuple(migrations.MIGRATIONS)[:2]
            with pytest.MonkeyPatch.context() as patch:
                only = {name: migrations.MIGRATIONS[name] for name in names}
                patch.setattr(migrations, "MIGRATIONS", only)
                patch.setattr(migrations, "FILLED", {})
                migrations.apply(made)
            for table, sql in made.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'table'"
                " AND name NOT LIKE '%sqlite_%'"
            ).fetchall():
                if table == "downtime":
                    continue  # of another shape; it is made again from the journal
                columns = [row[1] for row in made.execute(f"PRAGMA table_info({table})")]
                listed = ", ".join(f'"{name}"' for name in columns)
                order = "1" if "WITHOUT ROWID" in sql else "rowid"
                rows = written.execute(f"SELECT {listed} FROM {table} ORDER BY {order}").fetchall()
                marks = ", ".join("?" * len(columns))
                made.executemany(f"INSERT INTO {table} ({listed}) VALUES ({marks})", rows)
            yield made


def everything(connection: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
    return {
        table: sorted(
            connection.execute(
                f"SELECT * FROM {table}"
                + (" WHERE name <> 'day_revision'" if table == "total" else "")
            ).fetchall(),
            key=str,
        )
        for table in MADE
    }


def brought_up(history: list[e.Event]) -> tuple[dict[str, object], dict[str, object]]:
    with closing(database.open_writer(database.MEMORY)) as written:
        JournalWriter(written, generation=1).append(history)
        with older(written, database.MEMORY) as old:
            migrations.apply(old)
            return everything(written), everything(old)


@given(by_definition.histories(as_read=True))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_migration_makes_the_rows_that_the_projections_would_have_made(
    events: list[e.Event],
) -> None:
    written, rebuilt = brought_up(events)
    assert rebuilt == written


@given(by_definition.histories(as_read=True))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_adopted_trades_of_the_second_schema_lose_the_r_that_they_never_had(
    events: list[e.Event],
) -> None:
    with closing(database.open_writer(database.MEMORY)) as written:
        JournalWriter(written, generation=1).append(events)
        with second(events, database.MEMORY) as old:
            migrations.apply(old)
            assert everything(old) == everything(written)
            query = "SELECT trade_id, r_multiple, planned_stop, won FROM trade ORDER BY rowid"
            assert old.execute(query).fetchall() == written.execute(query).fetchall()


def test_a_history_with_halts_restarts_and_open_trades_is_rebuilt_as_well() -> None:
    end = story.DAY0_MS + 86_500_000
    history = [
        *story.opening(),
        story.marked(story.CYCLE_MS + 3_000, "10010"),
        *story.closing(),
        attrs.evolve(story.started(2, end + 60_000), config_digest="other", change_reason="why"),
        story.marked(end + 61_000, "9000"),
        story.started(3, end + 61_000),
        story.filled(9, story.ENTRY, OrderSide.BUY, "0.1", end + 62_000),
        story.closed(end + 63_000),
        story.closed(end + 363_000),
        story.closed(end + 3 * 3_600_000),
    ]
    written, rebuilt = brought_up(history)
    assert rebuilt == written
    assert written["downtime"]
    assert {("halts", 1), ("configs", 3)} <= set(written["total"])
    assert [row[-1] for row in written["run"]] == ["first", "why", "first"]


def test_the_marks_of_transfers_become_those_of_the_transfers_that_are_counted() -> None:
    """Older rows mark a transfer of the record's first moment, and lack one that is counted."""
    counted = story.transferred(story.CYCLE_MS + 4_000, "250")
    history = [
        story.started(1, story.DAY0_MS),
        story.transferred(story.CYCLE_MS, "1000"),
        story.marked(story.CYCLE_MS, "10000"),
        counted,
        story.marked(story.CYCLE_MS + 5_000, "10250"),
    ]
    name = "0009_transfer_marks"
    with closing(database.open_writer(database.MEMORY)) as written:
        JournalWriter(written, generation=1).append(history)
        right = everything(written)
        assert [row[2] for row in right["curve_mark"] if row[0] == "flow"] == ["250"]
        written.execute("UPDATE curve_mark SET amount = '1000' WHERE kind = 'flow'")
        written.execute("DELETE FROM _sqlite_migrations WHERE name = ?", (name,))
        migrations.apply(written)
        assert everything(written) == right


def test_a_database_of_before_is_migrated_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "kamou.sqlite3"
    with closing(database.open_writer(database.MEMORY)) as written:
        JournalWriter(written, generation=1).append(story.opening() + story.closing())
        with older(written, path):
            pass
    with pytest.raises(StoreError, match="db migrate"):
        database.open_reader(path)
    assert database.migrate(path) == tuple(migrations.MIGRATIONS)[1:]
    with closing(database.open_reader(path)) as reader:
        assert queries.counts(reader).trades == 1


def test_rows_that_do_not_add_up_are_refused_and_the_database_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kamou.sqlite3"
    with closing(database.open_writer(database.MEMORY)) as written:
        JournalWriter(written, generation=1).append(story.opening() + story.closing())
        with older(written, path) as old:
            before = "\n".join(old.iterdump())
    real = record_rebuild.open_row

    def lossy(reader: sqlite3.Connection) -> object:
        reader.execute("UPDATE day SET trades = trades + 1")
        return real(reader)

    monkeypatch.setattr(record_rebuild, "open_row", lossy)
    with pytest.raises(StoreError, match="do not add up: closed trades 2"):
        database.open_writer(path)
    with closing(sqlite3.connect(path)) as after:
        assert "\n".join(after.iterdump()) == before
