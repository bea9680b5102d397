"""Crashes of all actors at each of their waits lose no order and no stop.

Sites and their counts come from a first, undisturbed run. By default each site crashes at its
first, its middle and its last visit; KAMOU_CRASH_ALL=1 crashes every visit and takes minutes.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from functools import cache

import pytest
import trio

from kamou.core.book.events import CycleClosed, TradeClosed
from kamou.errors import CallUnavailableError
from kamou.runtime.determinism import throw_into
from kamou.runtime.supervision import RestartStormError
from kamou.simulator.crash_injection import CrashPoint, InjectedCrashError
from tests.actors import scripted_market
from tests.actors.account_of import faults
from tests.actors.crash_points import CrashInjector, CrashPointCounter
from tests.actors.system_harness import Ended, run_system

PIPELINE = ("feed", "scanner-0", "scanner-1", "veto", "refiner")
ACTORS = frozenset(
    ("journal", "risk_governor", "exchange", "order_manager", "reconciler", *PIPELINE)
)
LAST_S = (
    scripted_market.MINUTES * 60 + 5.0
)  # after the last cycle; no crash is injected from here on
PARTS = 8  # so that several processes may share the work


def armed() -> bool:
    return trio.current_time() < LAST_S


@cache
def sites() -> dict[CrashPoint, int]:
    """Return the sites at which actors wait in an undisturbed run, with their counts."""
    watcher = CrashPointCounter(ACTORS, armed)
    ended = run_system(instruments=[watcher])
    assert faults(ended, until_minute=scripted_market.MINUTES) == []
    return dict(sorted(watcher.seen.items()))


def visits(count: int) -> list[int]:
    if os.environ.get("KAMOU_CRASH_ALL"):
        return list(range(1, count + 1))
    return sorted({1, (count + 1) // 2, count})


def unexpected(ended: Ended) -> list[str]:
    """Return the crashes that were neither injected nor caused by an injected one."""
    follows = (InjectedCrashError, CallUnavailableError, RestartStormError)
    return [repr(e.error) for e in ended.crashes if not isinstance(e.error, follows)]


def test_the_scripted_market_has_stops_take_profits_time_limits_and_funding() -> None:
    """The crashes of the other tests disturb each of these kinds of events."""
    ended = run_system()
    assert faults(ended, until_minute=scripted_market.MINUTES) == []
    reasons = Counter(trade.exit_reason for trade in ended.of(TradeClosed))
    assert reasons == {"stop_loss": 3, "take_profit": 3, "time_limit": 1}
    assert len(ended.income) == 2  # two positions over the settlement
    assert len(ended.positions) == 2
    by_order = Counter(fill.client_order_id for fill in ended.fills)
    assert max(by_order.values()) == 3  # a take-profit in three parts
    assert ended.vetoed
    assert ended.denied


def test_every_actor_waits_and_there_are_at_least_80_crash_points() -> None:
    assert {site.actor for site in sites()} == ACTORS
    assert len({(site.actor, site.chain[-1]) for site in sites()}) >= 30
    assert len(sites()) >= 80


@pytest.mark.no_cover
@pytest.mark.parametrize("part", range(PARTS))
def test_a_crash_at_any_point_loses_and_doubles_no_order_and_leaves_no_position_unprotected(
    part: int,
) -> None:
    cases = [(site, visit) for site, count in sites().items() for visit in visits(count)]
    wrong: dict[str, list[str]] = {}
    for site, visit in cases[part::PARTS]:
        injector = CrashInjector(ACTORS, armed, site, visit)
        ended = run_system(instruments=[injector])
        found = faults(ended, until_minute=scripted_market.MINUTES) + unexpected(ended)
        if not injector.struck:
            found.append("the run did not reach this crash point")
        if len(ended.of(CycleClosed)) != scripted_market.MINUTES + 1:
            found.append("the journal does not have one CycleClosed per cycle")
        if not any(isinstance(exit_.error, InjectedCrashError) for exit_ in ended.crashes):
            found.append("no actor crashed by the injected error")
        if found:
            wrong[f"{site} at visit {visit}"] = found
    assert wrong == {}


class Storm(CrashPointCounter):
    """Crashes a few actors at random, recoveries included, ``backoff_reset_s`` apart or more."""

    def __init__(self, seed: int, crashes: int, rate: float, backoff_reset_s: float) -> None:
        super().__init__(ACTORS, armed)
        self.left = crashes
        self.rate = rate
        self.backoff_reset_s = backoff_reset_s
        self.seed = seed
        self.steps = 0
        self.last_s = -backoff_reset_s

    def chance(self) -> float:
        """Return a number in [0, 1) that seed and step decide."""
        self.steps += 1
        digest = hashlib.sha256(f"{self.seed}:{self.steps}".encode()).digest()
        return int.from_bytes(digest[:4], "big") / 2**32

    def resumed(self, task: trio.lowlevel.Task, site: CrashPoint) -> None:
        if task.child_nurseries:
            return  # a task that waits for its own nursery may not leave before its children
        now = trio.current_time()
        if self.left and now - self.last_s >= self.backoff_reset_s and self.chance() < self.rate:
            self.left -= 1
            self.last_s = now
            throw_into(task, InjectedCrashError(str(site)))


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", range(30))
def test_repeated_crashes_lose_and_double_no_order_and_leave_no_position_unprotected(
    seed: int,
) -> None:
    storm = Storm(
        seed,
        crashes=2 + seed % 4,
        rate=(0.01, 0.02, 0.05)[seed % 3],
        backoff_reset_s=(0, 1, 12)[seed % 3],
    )
    ended = run_system(instruments=[storm])
    assert faults(ended, until_minute=scripted_market.MINUTES) == []
    assert unexpected(ended) == []
    assert ended.crashes
