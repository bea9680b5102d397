"""The generated market's states in the venue's file, which never change a price."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.day import DAY_MS, HOUR_MS
from kamou.data_directory.folder import MEMORY
from kamou.errors import DiskFullError
from kamou.messages.codec import encode
from kamou.venue import checkpoints
from kamou.venue.checkpoints import StoredStates, keep_checkpoints, market_digest, run_market_to
from kamou.venue.engine import Engine
from kamou.venue.market import generator
from kamou.venue.market.generated_day import PathSettings, first_state, run_day
from kamou.venue.market.generator import GeneratedMarket
from kamou.venue.market.market_states import CHECKPOINT_DAYS, STATES_HELD, MarketStates
from kamou.venue.market.universe import UniverseSettings
from kamou.venue.models import VenueModels
from kamou.venue.store import VenueStore

ORIGIN_MS = 1_735_689_600_000  # 2025-01-01T00:00Z
LAST_DAY = 95
Market = GeneratedMarket


def market(**options: Any) -> Market:
    given_ = {"seed": 5, "origin_ms": ORIGIN_MS, "symbols": 3, "step_ms": HOUR_MS} | options
    return Market(**given_)


def at(day: int) -> int:
    return ORIGIN_MS + day * DAY_MS


def never() -> bool:
    return False


STEADY = market()  # without a file


def assert_same_day(left: Market, right: Market, day: int) -> None:
    """Compare bars, paths and observations of one day bit by bit."""
    for field in ("open", "high", "low", "close", "volume"):
        assert np.array_equal(getattr(left.day(day), field), getattr(right.day(day), field))
    since, until = at(day) + 7_777_777, at(day) + DAY_MS - 5
    path, other = left.segment(since, until), right.segment(since, until)
    assert all(
        np.array_equal(a, b) for a, b in zip(attrs.astuple(path), attrs.astuple(other), strict=True)
    )
    for name in ("funding_rates", "open_interest", "long_short_ratios", "premium_index"):
        expected, found = getattr(left, name)(since, until), getattr(right, name)(since, until)
        assert np.array_equal(expected.values, found.values)


def opened(path: Path, of: Market) -> Engine:
    """Open the venue's file over this market as a run does."""
    store = VenueStore(path, durable=False)
    keep_checkpoints(of, store)
    return Engine(of, VenueModels(), store, start_ms=at(0), wallet_balance=Decimal(10_000))


def filled(path: Path, day: int, **options: Any) -> None:
    """Make a file of a run that ended on this day."""
    of = market(**options)
    engine = opened(path, of)
    run_market_to(of, at(day), never)
    engine.close()


def stored_days(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as db:
        return [day for (day,) in db.execute("SELECT day FROM generator_state ORDER BY day")]


@pytest.fixture
def days_run(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the days whose recursion is run, in order."""
    run: list[int] = []
    plain = run_day

    def counted(universe: Any, paths: Any, seed: int, day: int, *rest: Any) -> Any:
        run.append(day)
        return plain(universe, paths, seed, day, *rest)

    monkeypatch.setattr(generator, "run_day", counted)
    return run


# --- the same market with and without stored states ------------------------------------------


@settings(max_examples=20)
@given(cuts=st.lists(st.integers(0, LAST_DAY), min_size=1, max_size=5))
def test_a_market_that_starts_at_any_cut_is_bit_for_bit_the_one_run_from_its_first_day(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    path = tmp_path_factory.mktemp("venue") / "venue.db"
    for day in cuts:
        of = market()
        engine = opened(path, of)
        run_market_to(of, at(day) + 5, never)
        assert_same_day(of, STEADY, day)
        assert_same_day(of, STEADY, max(0, day - 35))  # as a scanner looks back
        assert_same_day(of, STEADY, day + 1)
        engine.close()


def test_a_restart_after_364_days_runs_at_most_22_of_them(
    tmp_path: Path, days_run: list[int]
) -> None:
    cost = []
    for day in (34, 364):
        path = tmp_path / f"{day}.db"
        filled(path, day)
        days_run.clear()
        of = market()
        engine = opened(path, of)
        run_market_to(of, at(day), never)
        of.day(day)
        of.day(max(0, day - 35))
        engine.close()
        cost.append(len(days_run))
    assert cost[1] <= 2 * CHECKPOINT_DAYS + 2
    assert stored_days(tmp_path / "364.db") == list(range(10, 370, 10))[: 364 // 10]


def test_a_kill_loses_only_the_states_that_were_not_written(
    tmp_path: Path, days_run: list[int]
) -> None:
    path = tmp_path / "venue.db"
    of = market()
    engine = opened(path, of)
    run_market_to(of, at(45), never)
    engine.advance(at(45))  # an idle venue stores its time, and the states with it
    run_market_to(of, at(75), never)
    engine._store._db.close()  # as after SIGKILL: nothing more is written
    assert stored_days(path) == [10, 20, 30, 40]
    days_run.clear()
    again = market()
    engine = opened(path, again)
    run_market_to(again, at(75), never)
    engine.close()
    assert days_run[0] == 40
    assert_same_day(again, STEADY, 75)
    assert stored_days(path) == [10, 20, 30, 40, 50, 60, 70]


def test_a_run_to_a_day_ends_early_on_request_and_the_market_runs_the_rest_later(
    days_run: list[int],
) -> None:
    of = market()
    looks = iter([False, False, False, True])
    of.run_to(at(50), lambda: next(looks))
    assert days_run == [0, 1, 2]
    assert_same_day(of, STEADY, 50)
    of.run_to(at(0) - 1, never)  # a time before the origin runs no day


def test_a_long_run_holds_a_bounded_number_of_states(tmp_path: Path) -> None:
    of = market(symbols=1)
    engine = opened(tmp_path / "venue.db", of)
    run_market_to(of, at(2 * STATES_HELD), never)
    assert len(of.states._held) == STATES_HELD
    engine.close()
    assert engine._store.unstored_states() == ()


def test_a_market_without_a_venue_file_starts_from_a_checkpoint_in_memory(
    days_run: list[int],
) -> None:
    of = market(symbols=1)
    run_market_to(of, at(2 * STATES_HELD), never)
    store = VenueStore(MEMORY)
    keep_checkpoints(of, store)  # a store in memory keeps no states
    days_run.clear()
    of.day(25)
    assert days_run == [20, 21, 22, 23, 24, 25]
    assert not store.unstored_states()
    store.close()


# --- rows that may not be used ---------------------------------------------------------------


def damaged(db: sqlite3.Connection) -> None:
    db.execute("UPDATE generator_state SET state = substr(state, 1, 100) || x'00'")


def flipped(db: sqlite3.Connection) -> None:
    for day, state in db.execute("SELECT day, state FROM generator_state").fetchall():
        middle = len(state) // 2
        other = state[:middle] + bytes([state[middle] ^ 1]) + state[middle + 1 :]
        db.execute("UPDATE generator_state SET state = ? WHERE day = ?", (other, day))


def of_another_day(db: sqlite3.Connection) -> None:
    db.execute("UPDATE generator_state SET day = day + 1000")
    db.execute("UPDATE generator_state SET day = day - 1010")
    db.execute("DELETE FROM generator_state WHERE day = 0")


def of_another_version(db: sqlite3.Connection) -> None:
    db.execute("UPDATE generator_state SET version = version + 1")


def of_another_maker(db: sqlite3.Connection) -> None:
    db.execute("UPDATE generator_state SET made_by = 'somebody'")


def as_text(db: sqlite3.Connection) -> None:
    db.execute("UPDATE generator_state SET state = CAST(state AS TEXT)")


def rehashed(body: Callable[[int], bytes]) -> Callable[[sqlite3.Connection], None]:
    """Return a change of all rows to other bytes, each with their correct hash."""

    def spoil(db: sqlite3.Connection) -> None:
        rows = db.execute("SELECT day, made_by FROM generator_state").fetchall()
        for day, made_by in rows:
            state = body(day)
            known = checkpoints._state_hash(day, made_by, state)
            db.execute(
                "UPDATE generator_state SET state = ?, state_hash = ? WHERE day = ?",
                (state, known, day),
            )

    return spoil


SPOILT = {
    "cut short": damaged,
    "one bit": flipped,
    "another day's": of_another_day,
    "another version's": of_another_version,
    "another maker's": of_another_maker,
    "text": as_text,
    "rubbish": rehashed(lambda day: b"rubbish"),
    "of fewer symbols": rehashed(lambda day: encode(first_state(market(symbols=2).universe))),
}


@pytest.mark.parametrize("how", SPOILT)
def test_with_invalid_stored_states_the_days_run_again_with_the_same_prices(
    tmp_path: Path, how: str, days_run: list[int]
) -> None:
    path = tmp_path / "venue.db"
    filled(path, 45)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        SPOILT[how](db)
    days_run.clear()
    of = market()
    store = VenueStore(path)
    keep_checkpoints(of, store)
    run_market_to(of, at(45), never)
    assert days_run == list(range(45)), "the days run again from the first one"
    assert_same_day(of, STEADY, 45)
    store.close()


def test_stored_states_of_another_market_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "venue.db"
    filled(path, 45, seed=6)
    filled(path, 45)
    with closing(sqlite3.connect(path)) as db:
        makers = {made_by for (made_by,) in db.execute("SELECT made_by FROM generator_state")}
    assert makers == {market_digest(market())}


def test_with_one_invalid_stored_state_the_days_run_from_the_state_of_ten_days_before(
    tmp_path: Path, days_run: list[int]
) -> None:
    path = tmp_path / "venue.db"
    filled(path, 45)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE generator_state SET state_hash = '' WHERE day = 40")
    days_run.clear()
    filled(path, 45)
    assert days_run == list(range(30, 45))


def test_a_venue_file_that_cannot_be_read_has_no_states_but_new_ones_are_found(
    tmp_path: Path,
) -> None:
    of, store = market(), VenueStore(tmp_path / "venue.db")
    states = StoredStates(of, store)
    store.close()
    (tmp_path / "venue.db").unlink()
    assert states.newest(50) is None
    states.keep(10, of.first_state)
    found = states.newest(50)
    assert found is not None
    assert found[0] == 10


def other_markets() -> Iterator[Market]:
    yield market(seed=6)
    yield market(symbols=4)
    yield market(step_ms=HOUR_MS // 2)
    yield market(origin_ms=ORIGIN_MS + DAY_MS)
    yield market(paths=PathSettings(jump_sd=0.04))
    yield market(universe=UniverseSettings(btc_price=61_000.0))


def test_settings_version_and_code_of_the_market_change_its_digest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = {market_digest(each) for each in (market(), *other_markets())}
    assert len(known) == 7
    assert market_digest(market()) in known
    monkeypatch.setattr(checkpoints, "GENERATOR_VERSION", 99)
    assert market_digest(market()) not in known
    monkeypatch.undo()
    monkeypatch.setattr(checkpoints, "code_digest", lambda: "other code")
    assert market_digest(market()) not in known


# --- writing ---------------------------------------------------------------------------------


def test_a_market_state_is_stored_by_the_venues_next_transaction_and_waits_on_a_full_disk(
    tmp_path: Path,
) -> None:
    of = market()
    engine = opened(tmp_path / "venue.db", of)
    store = engine._store
    run_market_to(of, at(25), never)
    assert [row[0] for row in store.unstored_states()] == [10, 20]
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    many = [(n, 1, "x", bytes(4_000), "") for n in range(1000, 1010)]
    for row in many:
        store.queue_state(row)
    with pytest.raises(DiskFullError):
        store.touch(at(26))
    assert len(store.unstored_states()) == 12
    store._db.execute("PRAGMA max_page_count = 1000000")
    assert not engine.reloads
    engine.advance(at(27))
    assert store.unstored_states() == ()
    assert engine.reloads == 0, "the venue's own write causes no reload"
    engine.close()
    assert stored_days(tmp_path / "venue.db")[:2] == [10, 20]


def test_a_market_that_runs_day_by_day_reads_no_stored_state() -> None:
    class Counting:
        looks = 0

        def newest(self, day: int) -> None:
            self.looks += 1

        def keep(self, day: int, state: Any) -> None:
            pass

    keeper, of = Counting(), market()
    of.use_keeper(keeper)
    for day in range(3 * CHECKPOINT_DAYS):
        of.day(day)
    assert keeper.looks == 0
    held = MarketStates(of.first_state)
    assert held.nearest(3) == (0, of.first_state)


def test_the_states_adopt_those_that_a_copy_has_computed(
    tmp_path: Path, days_run: list[int]
) -> None:
    of, other = market(), market()
    engine = opened(tmp_path / "venue.db", of)
    run_market_to(of, at(18), never)
    other.states = of.states.copy()
    other.run_to(at(23), never)
    assert days_run == list(range(23))
    of.states.adopt(other.states)
    of.day(23)
    assert days_run == list(range(24)), "the days of the copy are not run again"
    assert len(of.states._held) == 24
    engine.close()
    assert stored_days(tmp_path / "venue.db") == [10, 20], "the copy stores its states, too"
