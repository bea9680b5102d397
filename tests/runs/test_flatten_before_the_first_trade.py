"""Tests of the number of positions that a flatten counts in the venue's file."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from kamou.data_directory.folder import DataDirectory
from kamou.runs import demo, flatten
from kamou.venue.store import VenueStore
from tests.small_demo import NOW_MS, SetClock, resolved, settings, venue


@pytest.fixture
def new_directory(tmp_path: Path) -> DataDirectory:
    """Return a data directory that is bound to its market and has no account yet."""
    data_dir = DataDirectory(tmp_path)
    binding = demo.resolve_binding(
        settings(tmp_path), data_dir, now_ms=NOW_MS, fast_forward=False, replay=None
    )
    demo.store_binding(data_dir, binding)
    return data_dir


async def test_a_flatten_of_a_venue_without_an_account_finds_and_leaves_no_position(
    new_directory: DataDirectory,
) -> None:
    of = resolved(settings(new_directory.path))
    assert flatten.count_venue_positions(of) == 0
    done = await trio.to_thread.run_sync(lambda: flatten.run(of, clock=SetClock(NOW_MS)))
    found = {key: value for key, value in done.items() if key != "log"}
    assert set(found.values()) == {0}
    assert flatten.count_venue_positions(of) == 0


def test_a_data_directory_without_a_venue_has_no_position(tmp_path: Path) -> None:
    assert flatten.count_venue_positions(resolved(settings(tmp_path))) == 0
    assert not DataDirectory(tmp_path).exchange.exists()


def test_a_venue_that_was_never_traded_on_has_no_position(tmp_path: Path) -> None:
    VenueStore(DataDirectory(tmp_path).exchange).close()
    assert flatten.count_venue_positions(resolved(settings(tmp_path))) == 0


def test_the_positions_of_a_venue_are_counted_from_its_file(traded: DataDirectory) -> None:
    held = len(venue(traded).positions)
    assert held
    assert flatten.count_venue_positions(resolved(settings(traded.path))) == held
