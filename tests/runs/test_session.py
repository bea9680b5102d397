"""A session opens its files, notes how the run ended, and closes them however it came."""

from __future__ import annotations

import sqlite3
import stat
import threading
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from small_demo import NOW_MS, run_table, settings
from trio.testing import wait_all_tasks_blocked

from kamou import ids
from kamou.core.day import DAY_MS
from kamou.data_directory.folder import DataDirectory
from kamou.errors import DatabaseNewerError, DiskFullError, InvalidDataError, StoreError
from kamou.runs.session import (
    Session,
    is_caller_canceled,
    is_cancellation,
    open_session,
    open_session_in_thread,
    salt_key,
)
from kamou.store import database
from kamou.venue.market import generator
from kamou.venue.market.generator import GeneratedMarket
from kamou.venue.order_checks import FAULTS_SHOWN
from kamou.venue.store import VenueStore


@pytest.fixture
def folder(tmp_path: Path) -> DataDirectory:
    made = DataDirectory(tmp_path / "data")
    made.create()
    database.migrate_journal(made.database)
    return made


@pytest.fixture
def market() -> GeneratedMarket:
    return GeneratedMarket(seed=1, origin_ms=NOW_MS - DAY_MS, symbols=8)


def how(folder: DataDirectory, source: Any) -> dict[str, Any]:
    """Arguments of ``opened``."""
    return {
        "settings": settings(folder.path),
        "database_path": folder.database,
        "venue_path": folder.exchange,
        "source": source,
        "start_ms": NOW_MS,
        "clock": lambda: NOW_MS,
        "gate": "assumed",
        "durable": False,
    }


def open_on(folder: DataDirectory, source: Any) -> AbstractContextManager[Session]:
    return open_session(**how(folder, source))


def test_how_a_run_ended_is_on_record(folder: DataDirectory, market: GeneratedMarket) -> None:
    with open_on(folder, market):
        pass
    with pytest.raises(ZeroDivisionError), open_on(folder, market):
        raise ZeroDivisionError
    assert run_table(folder) == [(1, "stopped"), (2, "crashed")]


async def test_being_told_to_stop_is_no_crash(
    folder: DataDirectory, market: GeneratedMarket
) -> None:
    async def wait() -> None:
        with open_on(folder, market):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                nursery.start_soon(trio.sleep_forever)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert run_table(folder) == [(1, "stopped")]


def test_a_group_of_crashes_is_a_crash() -> None:
    mixed = BaseExceptionGroup("", [KeyError("x"), BaseExceptionGroup("", [KeyError("y")])])
    assert not is_cancellation(mixed)


def test_a_full_disk_at_the_very_end_does_not_keep_the_files_open(
    folder: DataDirectory, market: GeneratedMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(events: object) -> None:
        raise DiskFullError("full")

    with open_on(folder, market) as session:
        monkeypatch.setattr(session.writer, "append", full)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        session.reader.execute("SELECT 1")
    with open_on(folder, market):
        pass
    assert run_table(folder) == [(1, None), (2, "stopped")]


def test_a_venue_of_a_newer_kamou_leaves_nothing_open(
    folder: DataDirectory, market: GeneratedMarket
) -> None:
    venue = VenueStore(folder.exchange)
    venue._db.execute("PRAGMA user_version = 99")
    venue.close()
    with pytest.raises(DatabaseNewerError), open_on(folder, market):
        raise AssertionError("not opened")
    assert run_table(folder) == []


def test_a_market_whose_instruments_make_no_sense_is_refused_before_anything_is_written(
    folder: DataDirectory, market: GeneratedMarket
) -> None:
    market.instruments = tuple(
        attrs.evolve(each, tick=Decimal(0), qty_min=each.qty_max + 1) for each in market.instruments
    )
    with pytest.raises(InvalidDataError) as caught, open_on(folder, market):
        raise AssertionError("not opened")
    words = str(caught.value)
    assert "BTCUSDT: tick is 0, not above 0" in words
    assert f"and {2 * 8 - FAULTS_SHOWN} more" in words
    assert run_table(folder) == []
    assert not folder.exchange.exists()


def test_the_key_of_the_salts_is_made_once_and_only_its_owner_reads_it(
    folder: DataDirectory,
) -> None:
    key = salt_key(folder.salt_key)
    assert salt_key(folder.salt_key) == key
    assert stat.S_IMODE(folder.salt_key.stat().st_mode) == 0o600
    assert ids.derive_salt(key, "a") != ids.derive_salt(key, "b")


@pytest.mark.parametrize("text", ["", "abcd", "no hex at all"])
def test_a_key_that_is_none_is_refused_and_never_replaced(folder: DataDirectory, text: str) -> None:
    folder.salt_key.write_text(text)
    with pytest.raises(StoreError, match="backup"):
        salt_key(folder.salt_key)
    assert folder.salt_key.read_text() == text


# --- in a thread -----------------------------------------------------------------------------


async def test_the_market_is_run_to_the_present_in_a_thread_before_the_session_is_there(
    folder: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, threads = generator.run_day, []

    def advance(*given: Any) -> Any:
        threads.append(threading.get_ident())
        trio.from_thread.run(trio.lowlevel.checkpoint)  # the loop answers meanwhile
        return plain(*given)

    monkeypatch.setattr(generator, "run_day", advance)
    source = GeneratedMarket(seed=1, origin_ms=NOW_MS - 30 * DAY_MS, symbols=2)
    async with open_session_in_thread(**how(folder, source)) as session:
        assert len(threads) == 30
        assert session.engine.market_ms == NOW_MS
        with pytest.raises(RuntimeError):  # on the loop there is no thread to ask from
            source.prices(NOW_MS - 3 * DAY_MS)
    assert threading.get_ident() not in threads[:30]
    assert run_table(folder) == [(1, "stopped")]


async def test_told_to_stop_while_it_opens_it_ends_with_the_day_in_hand(
    folder: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, days, asked = generator.run_day, [], []
    token, scope = trio.lowlevel.current_trio_token(), trio.CancelScope()

    def advance(universe: Any, paths: Any, seed: int, day: int, *rest: Any) -> Any:
        days.append(day)
        if day == 12 and not asked:
            asked.append(day)
            token.run_sync_soon(scope.cancel)
            while not is_caller_canceled():
                pass
        return plain(universe, paths, seed, day, *rest)

    monkeypatch.setattr(generator, "run_day", advance)
    source = GeneratedMarket(seed=1, origin_ms=NOW_MS - 300 * DAY_MS, symbols=2)
    with scope:
        async with open_session_in_thread(**how(folder, source)):
            raise AssertionError("it was told to stop")
    assert scope.cancelled_caught
    assert days == list(range(13))
    assert run_table(folder) == [(1, "stopped")]
    days.clear()
    with open_on(folder, GeneratedMarket(seed=1, origin_ms=source.first_ms, symbols=2)):
        assert days[0] == 10, "what was run before the stop was kept"


async def test_a_session_that_cannot_be_opened_in_a_thread_says_why_on_the_loop(
    folder: DataDirectory, market: GeneratedMarket
) -> None:
    folder.exchange.write_text("no database" * 100)
    with pytest.raises(StoreError, match="exchange"):
        async with open_session_in_thread(**how(folder, market)):
            raise AssertionError("there is nothing to open")


def test_a_session_opens_a_venue_that_was_left_days_ago_at_the_present(
    folder: DataDirectory,
) -> None:
    left_ms = NOW_MS - 3 * DAY_MS
    source = GeneratedMarket(seed=1, origin_ms=left_ms - DAY_MS, symbols=2)
    earlier = {"start_ms": left_ms, "clock": lambda: left_ms}
    with open_session(**how(folder, source) | earlier) as session:
        assert session.engine.market_ms == left_ms
    with open_session(**how(folder, source)) as session:
        assert session.engine.market_ms == NOW_MS, "no actor has asked it anything yet"
