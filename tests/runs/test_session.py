"""Tests of a session: opening its files, journalling the run's end, closing them."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kamou import ids
from kamou.core.day import DAY_MS
from kamou.data_directory.folder import DataDirectory
from kamou.errors import DatabaseNewerError, DiskFullError, InvalidDataError, StoreError
from kamou.runs.session import (
    Session,
    SessionFiles,
    is_caller_canceled,
    is_cancellation,
    open_session,
    open_session_in_thread,
    salt_key,
)
from kamou.store import database
from kamou.venue.market import generator
from kamou.venue.market.generated_day import run_day
from kamou.venue.market.generator import GeneratedMarket
from kamou.venue.order_checks import FAULTS_SHOWN
from kamou.venue.store import VenueStore
from tests.small_demo import NOW_MS, run_table, settings


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDirectory:
    made = DataDirectory(tmp_path / "data")
    made.create()
    database.migrate_journal(made.database)
    return made


@pytest.fixture
def market() -> GeneratedMarket:
    return GeneratedMarket(seed=1, origin_ms=NOW_MS - DAY_MS, symbols=8)


def session_arguments(data_dir: DataDirectory, source: Any) -> dict[str, Any]:
    """Return the arguments of ``open_session``."""
    return {
        "settings": settings(data_dir.path),
        "files": SessionFiles(database=data_dir.database, venue=data_dir.exchange, durable=False),
        "source": source,
        "clock": lambda: NOW_MS,
        "gate": "assumed",
    }


def opening(data_dir: DataDirectory, source: Any) -> Callable[..., AbstractContextManager[Session]]:
    return partial(open_session, **session_arguments(data_dir, source))


def open_session_on(data_dir: DataDirectory, source: Any) -> AbstractContextManager[Session]:
    return open_session(**session_arguments(data_dir, source))


def test_the_end_of_a_run_is_journalled_as_stopped_or_crashed(
    data_dir: DataDirectory, market: GeneratedMarket
) -> None:
    with open_session_on(data_dir, market):
        pass
    with pytest.raises(ZeroDivisionError), open_session_on(data_dir, market):
        raise ZeroDivisionError
    assert run_table(data_dir) == [(1, "stopped"), (2, "crashed")]


async def test_a_canceled_session_is_journalled_as_stopped(
    data_dir: DataDirectory, market: GeneratedMarket
) -> None:
    async def wait() -> None:
        with open_session_on(data_dir, market):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                nursery.start_soon(trio.sleep_forever)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert run_table(data_dir) == [(1, "stopped")]


def test_a_group_of_errors_is_not_a_cancellation() -> None:
    mixed = BaseExceptionGroup("", [KeyError("x"), BaseExceptionGroup("", [KeyError("y")])])
    assert not is_cancellation(mixed)


def test_a_full_disk_at_the_end_of_a_run_leaves_no_file_open(
    data_dir: DataDirectory, market: GeneratedMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(events: object) -> None:
        raise DiskFullError("full")

    with open_session_on(data_dir, market) as session:
        monkeypatch.setattr(session.writer, "append", full)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        session.reader.execute("SELECT 1")
    with open_session_on(data_dir, market):
        pass
    assert run_table(data_dir) == [(1, None), (2, "stopped")]


def test_a_venue_file_of_a_newer_kamou_is_an_error_before_a_run_is_journalled(
    data_dir: DataDirectory, market: GeneratedMarket
) -> None:
    venue = VenueStore(data_dir.exchange)
    venue._db.execute("PRAGMA user_version = 99")
    venue.close()
    with pytest.raises(DatabaseNewerError), open_session_on(data_dir, market):
        raise AssertionError("the session opened")
    assert run_table(data_dir) == []


def test_a_market_with_impossible_instruments_is_an_error_before_anything_is_written(
    data_dir: DataDirectory, market: GeneratedMarket
) -> None:
    market.instruments = tuple(
        attrs.evolve(each, tick=Decimal(0), qty_min=each.qty_max + 1) for each in market.instruments
    )
    with pytest.raises(InvalidDataError) as caught, open_session_on(data_dir, market):
        raise AssertionError("the session opened")
    words = str(caught.value)
    assert "BTCUSDT: tick is 0, not above 0" in words
    assert f"and {2 * 8 - FAULTS_SHOWN} more" in words
    assert run_table(data_dir) == []
    assert not data_dir.exchange.exists()


def test_the_salt_key_is_made_once_with_mode_0600(
    data_dir: DataDirectory,
) -> None:
    key = salt_key(data_dir.salt_key)
    assert salt_key(data_dir.salt_key) == key
    assert stat.S_IMODE(data_dir.salt_key.stat().st_mode) == 0o600
    assert ids.derive_salt(key, "a") != ids.derive_salt(key, "b")


@pytest.mark.parametrize("text", ["", "abcd", "no hex at all"])
def test_an_invalid_salt_key_is_an_error_and_is_not_replaced(
    data_dir: DataDirectory, text: str
) -> None:
    data_dir.salt_key.write_text(text)
    with pytest.raises(StoreError, match="backup"):
        salt_key(data_dir.salt_key)
    assert data_dir.salt_key.read_text() == text


# --- in a thread -----------------------------------------------------------------------------


async def test_a_session_generates_the_missing_days_in_a_thread_before_it_opens(
    data_dir: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run_day
    threads: list[int] = []

    def advance(*given: Any) -> Any:
        threads.append(threading.get_ident())
        trio.from_thread.run(trio.lowlevel.checkpoint)  # the loop answers meanwhile
        return plain(*given)

    monkeypatch.setattr(generator, "run_day", advance)
    source = GeneratedMarket(seed=1, origin_ms=NOW_MS - 30 * DAY_MS, symbols=2)
    async with open_session_in_thread(opening(data_dir, source)) as session:
        assert len(threads) == 30
        assert session.engine.market_ms == NOW_MS
        with pytest.raises(RuntimeError):  # on the loop there is no thread to ask from
            source.prices(NOW_MS - 3 * DAY_MS)
    assert threading.get_ident() not in threads[:30]
    assert run_table(data_dir) == [(1, "stopped")]


async def test_a_session_canceled_while_it_opens_completes_the_current_day_and_closes(
    data_dir: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run_day
    days: list[int] = []
    asked: list[int] = []
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
        async with open_session_in_thread(opening(data_dir, source)):
            raise AssertionError("the canceled session opened")
    assert scope.cancelled_caught
    assert days == list(range(13))
    assert run_table(data_dir) == [(1, "stopped")]
    days.clear()
    with open_session_on(data_dir, GeneratedMarket(seed=1, origin_ms=source.first_ms, symbols=2)):
        assert days[0] == 10, "the days before the stop are kept"


async def test_an_error_of_opening_in_a_thread_is_raised_on_the_event_loop(
    data_dir: DataDirectory, market: GeneratedMarket
) -> None:
    data_dir.exchange.write_text("no database" * 100)
    with pytest.raises(StoreError, match="exchange"):
        async with open_session_in_thread(opening(data_dir, market)):
            raise AssertionError("a session on an unreadable file opened")


def test_a_session_moves_a_venue_of_days_ago_to_the_present(
    data_dir: DataDirectory,
) -> None:
    left_ms = NOW_MS - 3 * DAY_MS
    source = GeneratedMarket(seed=1, origin_ms=left_ms - DAY_MS, symbols=2)
    earlier = {"clock": lambda: left_ms}
    with open_session(**session_arguments(data_dir, source) | earlier) as session:
        assert session.engine.market_ms == left_ms
    with open_session(**session_arguments(data_dir, source)) as session:
        assert session.engine.market_ms == NOW_MS, (
            "the venue is moved before an actor sends a request"
        )
