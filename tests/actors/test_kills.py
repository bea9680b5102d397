"""Kills of the process at waits of actors: the next run's book matches the venue.

The files are copied between two steps of the scheduler, which is what a kill leaves behind: what
was committed, and nothing else. KAMOU_CRASH_ALL=1 kills at every visit of every site.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import trio

from kamou.core.book.events import RunStarted, RunStopped
from kamou.simulator.crash_injection import CrashPoint
from tests.actors import scripted_market
from tests.actors.account_of import faults
from tests.actors.crash_points import CrashPointCounter
from tests.actors.system_harness import SETTINGS, at, run_system
from tests.actors.test_crashes import ACTORS, armed, sites, visits

PARTS = 6  # so that several processes may share the work
DOWN_MS = (200, 30_000, 150_000)  # at once, past the not-found window, past a time limit


class Killer(CrashPointCounter):
    """Copies the files at the ``occurrence``-th return of one site's wait."""

    def __init__(self, site: CrashPoint, occurrence: int, source: Path, copy: Path) -> None:
        super().__init__(ACTORS, armed)
        self.target = site
        self.occurrence = occurrence
        self.source = source
        self.copy = copy
        self.killed_ms = 0

    def resumed(self, task: trio.lowlevel.Task, site: CrashPoint) -> None:
        if self.killed_ms or site != self.target or self.seen[site] != self.occurrence:
            return
        self.killed_ms = scripted_market.START_MS + round(trio.current_time() * 1000)
        for path in self.source.iterdir():
            if not path.name.endswith("-shm"):  # shared memory ends with the process
                shutil.copy(path, self.copy / path.name)


def killed_and_resumed(data_dir: Path, site: CrashPoint, visit: int, down_ms: int) -> list[str]:
    before, after = data_dir / "before", data_dir / "after"
    for path in (before, after):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
    killer = Killer(site, visit, before, after)
    run_system(instruments=[killer], data_dir=before)
    if not killer.killed_ms:
        return ["the run did not reach the wait at which it is killed"]
    begin_ms = min(killer.killed_ms + down_ms, at(scripted_market.MINUTES) - 5_000)
    ended = run_system(data_dir=after, begin_ms=begin_ms)
    found = faults(ended, until_minute=scripted_market.MINUTES)
    started, stopped = len(ended.of(RunStarted)), len(ended.of(RunStopped))
    if (started, stopped) != (2, 0):
        found.append(f"{started} starts and {stopped} stops: the first run was not killed")
    found += [repr(exit_.error) for exit_ in ended.crashes]
    return found


def chosen(count: int) -> list[int]:
    """Return the middle visit of a site; with KAMOU_CRASH_ALL all visits."""
    every = visits(count)
    return every if os.environ.get("KAMOU_CRASH_ALL") else [every[len(every) // 2]]


@pytest.mark.no_cover
@pytest.mark.parametrize("part", range(PARTS))
def test_a_run_after_a_kill_ends_with_a_book_that_matches_the_venue(
    part: int, tmp_path: Path
) -> None:
    cases = [(site, visit) for site, count in sites().items() for visit in chosen(count)]
    wrong: dict[str, list[str]] = {}
    for number, (site, visit) in list(enumerate(cases))[part::PARTS]:
        down_ms = DOWN_MS[number % len(DOWN_MS)]
        if found := killed_and_resumed(tmp_path, site, visit, down_ms):
            wrong[f"{site} at visit {visit}, down {down_ms} ms"] = found
    assert wrong == {}


def test_a_run_after_an_orderly_stop_ends_with_a_book_that_matches_the_venue(
    tmp_path: Path,
) -> None:
    first = run_system(data_dir=tmp_path, minutes=3.4)
    assert first.book.trades.open  # positions stay, protected by their stops
    second = run_system(data_dir=tmp_path, begin_ms=at(3.8))
    assert set(first.book.trades.open) - set(second.book.trades.open)
    assert faults(second, until_minute=scripted_market.MINUTES) == []
    assert SETTINGS.store.snapshot_every < second.book.seq
