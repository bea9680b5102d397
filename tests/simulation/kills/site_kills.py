"""Kill the public site of a real run at random; trading must not be affected.

    python tests/simulation/kills/site_kills.py --kills 50 --seed 7

At most half of the kills fall into the fast-forward, the others into real time. The exit code is 1
if a check fails, for example if an actor was restarted, a cycle is missing, the independent checker
finds a broken rule, or book and venue differ.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[3]))  # so that a script can import the tests

import attrs
import trio

from kamou.core.book.events import CycleClosed, Event, RunStarted, StateChanged
from kamou.core.book.site_events import SiteFailed, SiteRecovered
from kamou.core.kinds import MarketEdges
from kamou.data_directory.folder import DataDirectory
from kamou.runs import demo
from kamou.settings.config import DemoSettings
from kamou.venue import checker
from kamou.venue.engine import Engine
from kamou.venue.models import VenueModels
from kamou.venue.store import VenueStore
from tests.runs import test_processes as runs
from tests.runs.test_site_process import site_pid
from tests.small_demo import NOW_MS, assert_same_book, journal, settings

CYCLE_S = 60
ALL_WITHIN_S = 1_800.0
REPLACED_WITHIN_S = 60.0  # half a second on a quiet machine
PAUSE_S = (0.0, 0.8)  # from the start of a site to its kill, before or after it serves
DAYS = 2
OF_THE_RUN = {
    "KAMOU__DEMO__BAR_S": str(CYCLE_S),
    "KAMOU__CYCLE__PERIOD_S": str(CYCLE_S),
    "KAMOU__SUPERVISION__BACKOFF_CAP_MS": "300",  # else fifty kills take half an hour
}


@attrs.define(kw_only=True)
class Killed:
    """The kills of one run, and the failures that were found."""

    kills: int = 0
    in_history: int = 0
    cycles: int = 0
    failures: list[str] = attrs.Factory(list)


async def killed(folder: DataDirectory, kills: int, seed: int) -> Killed:
    """Run `kamou run`, kill its site ``kills`` times, stop the run, judge its files."""
    draw, done = Random(seed), Killed()
    async with runs.start_run(folder, NOW_MS, days=DAYS, within_s=ALL_WITHIN_S) as running:
        pid = 0
        while done.kills < kills // 2 and not await trades(running):
            pid = await kill_next(running, pid, draw)
            done.kills += 1
        done.in_history = done.kills
        await running.ready()
        while done.kills < kills:
            pid = await kill_next(running, pid, draw)
            done.kills += 1
        status = (await running.ask("/api/v1/status")).json()
        done.failures += restarted(status["supervision"])
        await next_cycle(folder)
        if await running.stop_with(signal.SIGTERM) != 0:
            done.failures.append("the run did not end in order")
    events = journal(folder)
    done.cycles = len(cycles(events))
    done.failures += [*judged(events), *checked(folder)]
    try:
        assert_same_book(folder)
    except AssertionError as error:
        done.failures.append(f"book and venue differ: {error}")
    return done


async def kill_next(running: runs.RunningProcess, before: int, draw: Random) -> int:
    """Wait for another process of the site, kill it after a pause; return its pid."""
    with trio.fail_after(REPLACED_WITHIN_S):
        while (pid := site_pid(running)) in (0, before):  # noqa: ASYNC110 - another process
            await trio.sleep(0.01)
    await trio.sleep(draw.uniform(*PAUSE_S))
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return pid
    return pid


async def trades(running: runs.RunningProcess) -> bool:
    """Return True if the fast-forward is over."""
    ready = await running.ask("/readyz")
    return ready.status_code == 200 or "fast-forward" not in ready.text


async def next_cycle(folder: DataDirectory) -> None:
    """Wait for one more cycle, so that the last kill has one after it."""
    before = len(cycles(journal(folder)))
    with trio.fail_after(3 * CYCLE_S):
        while len(cycles(journal(folder))) == before:  # noqa: ASYNC110 - another process's rows
            await trio.sleep(0.5)


def restarted(node: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each restarted child except the site."""
    if node.get("restarts") and node["id"] != "site":
        yield f"{node['id']} was restarted {node['restarts']} times: {node.get('last_error')}"
    for child in node.get("children", ()):
        yield from restarted(child)


def cycles(events: Sequence[Event]) -> list[int]:
    return [event.cycle_at_ms for event in events if isinstance(event, CycleClosed)]


def judged(events: Sequence[Event]) -> Iterator[str]:
    """Yield a line for each rule that the journal breaks."""
    starts = [i for i, event in enumerate(events) if isinstance(event, RunStarted)]
    if len(starts) != 2:
        yield f"{len(starts)} runs were started, expected 2: the history and real time"
    for first, last in zip(starts, [*starts[1:], len(events)], strict=True):
        ranked = cycles(events[first:last])
        for one, other in pairwise(ranked):
            if other - one != CYCLE_S * 1_000:
                yield f"{(other - one) // 1_000} s from the cycle at {one} to the next"
    history = events[: starts[-1]]
    if any(isinstance(event, SiteFailed | SiteRecovered) for event in history):
        yield "the history has events of the site"
    of_site = [type(e) for e in events if isinstance(e, SiteFailed | SiteRecovered)]
    if of_site[:2] not in ([SiteFailed], [SiteFailed, SiteRecovered]):
        yield f"the journal's events of the site are {[kind.__name__ for kind in of_site]}"
    if any(isinstance(event, StateChanged) for event in events[starts[-1] :]):
        yield "the trading state changed in real time"


def checked(folder: DataDirectory) -> Iterator[str]:
    """Yield a line for each violation that the independent checker finds in the audit log."""
    demo_settings = DemoSettings(
        seed=7, symbols=8, warmup_days=1, bar_s=CYCLE_S, edges=MarketEdges.NONE
    )
    of = settings(folder.path, demo=demo_settings)
    with closing(VenueStore(folder.exchange)) as store:
        track = demo.load_binding(store)
        assert track is not None
        source = demo.open_source(of, track, replay=None, now_ms=NOW_MS)
        models = VenueModels.from_settings(of.exchange, of.costs)
        engine = Engine(source, models, store, start_ms=track.genesis_ms, wallet_balance=of.equity)
        found = checker.check(
            engine.audit_log, engine.account(), engine.positions(), source.instruments
        )
    for violation in found.violations:
        yield f"{violation.rule} {violation.symbol} at {violation.at_ms}: {violation.detail}"
    if not found.entries:
        yield "nothing was traded"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args(arguments)
    os.environ.update(OF_THE_RUN)
    with tempfile.TemporaryDirectory(prefix="kamou-site-kills-") as scratch:
        done = trio.run(killed, DataDirectory(Path(scratch) / "data"), asked.kills, asked.seed)
    sys.stdout.write(json.dumps(attrs.asdict(done)) + "\n")
    return 1 if done.failures else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
