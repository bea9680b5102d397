"""Every way in which the simulated world is hostile: one row each in ``FAULTS``.

A seed switches whole classes on or off (a swarm covers more than everything at once does) and
draws when and how often each strikes from a generator of the class's own, so that leaving one
class out changes nothing for the others. ``Chaos`` is one seed's faults; it counts each strike.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable
from random import Random

import attrs

from kamou.core.day import HOUR_MS
from kamou.errors import ConfigurationError
from kamou.runtime.determinism import random_stream


@attrs.frozen
class Fault:
    """One class. ``windows_per_hour`` of ``window_s``: how often and how long it lasts; a class
    without windows strikes single calls with ``rate``, or at moments of its own.

    ``stream`` numbers the class's own random stream: a new name changes no draw. The number of a
    class that is gone is given to no other.
    """

    stream: int
    name: str
    doc: str
    windows_per_hour: float = 0.0
    window_s: tuple[float, float] = (0.0, 0.0)
    rate: float = 0.0  # per call, message or commit
    share: float = 0.35  # of the seeds that have it


FAULTS: tuple[Fault, ...] = (
    Fault(
        1,
        "latency_reorder",
        "requests and answers take up to seconds, and overtake each other",
        rate=0.5,
        share=0.6,
    ),
    Fault(2, "timeout_before_accept", "an order times out and never arrives", rate=0.1),
    Fault(3, "timeout_after_accept", "an order times out and is accepted, perhaps later", rate=0.1),
    Fault(4, "duplicate_events", "the stream repeats itself", rate=0.2),
    Fault(5, "lost_events", "the stream leaves something out", rate=0.15),
    Fault(6, "out_of_order_events", "the stream delivers late and in another order", rate=0.3),
    Fault(7, "partial_fills", "the book is thin: entries and targets fill in parts", share=0.5),
    Fault(8, "half_open", "the stream is dead and does not say so", 3, (20, 300)),
    Fault(9, "disconnect", "no call gets through, and the stream is lost", 3, (5, 180)),
    Fault(10, "rate_limit_and_ban", "every call is refused: wait", 3, (5, 240)),
    Fault(11, "maintenance", "reads fail, orders end in the unknown", 1.5, (60, 600)),
    Fault(12, "clock_skew", "our clock is seconds off, and drifts by steps", 4, (120, 600)),
    Fault(13, "stale_feed", "quotes and bars of a while ago", 3, (30, 240)),
    Fault(14, "frozen_feed", "quotes stand still, no bar closes", 3, (30, 300)),
    Fault(15, "bad_data", "NaN prices, crossed books, gaps", 6, (20, 200)),
    Fault(
        16, "lying_venue", "an order, fill, position or payment is missing from a list", rate=0.05
    ),
    Fault(17, "disk_full", "the journal cannot grow", 2, (2, 120)),
    Fault(18, "slow_fsync", "a commit takes up to seconds", rate=0.05),
    Fault(19, "actor_crash", "an actor raises where it waits", rate=0.0004, share=0.5),
    Fault(20, "process_kill", "the process dies, at a commit, a call or any time", 4, share=0.5),
    Fault(21, "power_cut", "as a kill, and what was not synced is gone", 2, share=0.35),
    Fault(22, "operator", "halt, resume, flatten, and restarts with other settings", 3, share=0.35),
    Fault(23, "delisting", "a market ends; the venue settles what is held", 0.6, share=0.25),
    Fault(24, "instrument_change", "tick, lot, contract size or risk tier change", 3, share=0.25),
    Fault(25, "adl", "the venue takes part of a position away", 3, share=0.25),
    Fault(26, "liquidation", "the market gaps through stop and liquidation price", 1, share=0.25),
    Fault(27, "insufficient_margin", "money leaves the account", 1.5, share=0.25),
    Fault(28, "external_order", "a human trades by hand on the same account", 2.5, share=0.3),
    Fault(29, "external_cancel", "a human cancels our stop", 2.5, share=0.3),
    Fault(30, "stops_refused", "the venue takes no separate stops", 4, (30, 300), share=0.25),
    Fault(31, "tight_limits", "limits so narrow that risk, not exposure, bounds sizes", share=0.3),
    Fault(32, "restored_backup", "the journal of minutes ago comes back", 1.5, share=0.25),
    Fault(33, "day_end", "a UTC day ends half-way through, and another opens", share=0.3),
    Fault(
        34,
        "site_trouble",
        "the public site crashes, hangs, grows, floods, does not start",
        10,
        share=0.25,
    ),
    Fault(
        35,
        "blind_account",
        "the account cannot be read for minutes; all else can",
        6,
        (60, 420),
        share=0.15,
    ),
    Fault(
        36, "narrow_day_budget", "so little may be lost in a day that admission binds", share=0.08
    ),
    Fault(37, "narrow_open_risk", "so little may be at risk at once that it binds", share=0.08),
    Fault(
        38, "narrow_cluster", "so little may be at risk in one direction that it binds", share=0.08
    ),
    Fault(39, "narrow_shock", "a shock so large that it binds", share=0.08),
    Fault(40, "narrow_notional", "so little notional in total that it binds", share=0.08),
    Fault(41, "narrow_margin", "so little margin in total that it binds", share=0.08),
    Fault(42, "narrow_counts", "so few entries an hour and a day that they bind", share=0.08),
)
"""Faults of language models are not among them: nothing asks one yet."""

TOLD_AT_ONCE = frozenset({"external_cancel", "stops_refused", "tight_limits"})
"""Where these are all the faults, the stream tells of a lost stop: nothing excuses a wait."""

SWARM_STREAM = 100  # which classes a seed switches on
SIMULATION_STREAM = (
    101  # what else differs between worlds: the venue's orders, the time between runs
)

FAULT_NAMES = tuple(fault.name for fault in FAULTS)
BY_NAME = {fault.name: fault for fault in FAULTS}


def parse(text: str) -> frozenset[str] | None:
    """``all`` (None: each seed draws its own), ``none``, or names separated by commas.

    Raises:
        ConfigurationError: there is no such fault; names the nearest.
    """
    if text == "all":
        return None
    if text == "none":
        return frozenset()
    names = [part.strip() for part in text.split(",") if part.strip()]
    for name in names:
        if name not in BY_NAME:
            near = difflib.get_close_matches(name, FAULT_NAMES, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(FAULT_NAMES)}"
            raise ConfigurationError(f"unknown fault {name!r}; {hint}")
    if not names:
        raise ConfigurationError("--faults names nothing; say all, none, or some of them")
    return frozenset(names)


def drawn(seed: int) -> frozenset[str]:
    """The classes that a seed switches on; one seed in ten has none."""
    draw = random_stream(seed, SWARM_STREAM)
    if draw.random() < 0.1:
        return frozenset()
    return frozenset(fault.name for fault in FAULTS if draw.random() < fault.share)


class Chaos:
    """One seed's faults over time. All times are true ones, in ms."""

    def __init__(
        self, seed: int, on: Iterable[str], *, start_ms: int, end_ms: int, calm_ms: int
    ) -> None:
        self.seed = seed
        self.on = frozenset(on)
        self.struck: Counter[str] = Counter()
        self.calm_ms = calm_ms  # from here on nothing is broken any more
        self._draws = {fault.name: random_stream(seed, fault.stream) for fault in FAULTS}
        self._windows = {
            fault.name: self._drawn_windows(fault, start_ms, end_ms)
            for fault in FAULTS
            if fault.name in self.on and fault.windows_per_hour
        }
        self._counted: set[tuple[str, int]] = set()

    def draw(self, name: str) -> Random:
        """The class's own generator."""
        return self._draws[name]

    def chance(self, name: str, now_ms: int, rate: float | None = None) -> bool:
        """Whether this call is struck; counted."""
        if name not in self.on or now_ms >= self.calm_ms:
            return False
        if self._draws[name].random() >= (BY_NAME[name].rate if rate is None else rate):
            return False
        self.struck[name] += 1
        return True

    def inside(self, name: str, now_ms: int) -> tuple[int, int] | None:
        """The window of this class that ``now_ms`` is in; counted once per window."""
        if now_ms >= self.calm_ms:
            return None
        for window in self._windows.get(name, ()):
            if window[0] <= now_ms < window[1]:
                if (name, window[0]) not in self._counted:
                    self._counted.add((name, window[0]))
                    self.struck[name] += 1
                return window
        return None

    def windows(self, name: str) -> tuple[tuple[int, int], ...]:
        """When a class lasts, from and to."""
        return self._windows.get(name, ())

    def moments(self, name: str) -> tuple[int, ...]:
        """When a class strikes that lasts no time."""
        return tuple(
            window[0] for window in self._windows.get(name, ()) if window[0] < self.calm_ms
        )

    def note(self, name: str) -> None:
        """It struck."""
        self.struck[name] += 1

    def _drawn_windows(
        self, fault: Fault, start_ms: int, end_ms: int
    ) -> tuple[tuple[int, int], ...]:
        draw = self._draws[fault.name]
        expected = fault.windows_per_hour * (end_ms - start_ms) / HOUR_MS
        count = int(expected) + (draw.random() < expected % 1)
        found = []
        for _ in range(max(1, count)):
            at_ms = start_ms + int(draw.random() * (end_ms - start_ms))
            low, high = fault.window_s
            # Short ones are more common than long ones.
            length = low * (high / low) ** draw.random() if low else 0.0
            found.append((at_ms, min(end_ms, at_ms + int(1000 * length))))
        return tuple(sorted(found))


def covered_ms(windows: Iterable[tuple[int, int]], since_ms: int, until_ms: int) -> int:
    """How much of that time at least one of the windows covers."""
    covered, reached_ms = 0, since_ms
    for from_ms, to_ms in sorted(windows):
        begin, end = max(from_ms, reached_ms), min(to_ms, until_ms)
        if end > begin:
            covered += end - begin
            reached_ms = end
    return covered
