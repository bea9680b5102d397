"""``FAULTS``, their parsing, and the draw of a seed's faults.

Each fault is a row of ``FAULTS``. A seed switches whole faults on or off, because seeds with few
faults reach other states than seeds with all. Each fault draws its times from a random stream of
its own, so leaving one out changes nothing for the others.
"""

from __future__ import annotations

import difflib
from enum import StrEnum

import attrs

from kamou.errors import ConfigurationError
from kamou.runtime.determinism import make_random_stream


class FaultName(StrEnum):
    """The names of all faults; each has a row in ``FAULTS``."""

    LATENCY_REORDER = "latency_reorder"
    TIMEOUT_BEFORE_ACCEPT = "timeout_before_accept"
    TIMEOUT_AFTER_ACCEPT = "timeout_after_accept"
    DUPLICATE_EVENTS = "duplicate_events"
    LOST_EVENTS = "lost_events"
    OUT_OF_ORDER_EVENTS = "out_of_order_events"
    PARTIAL_FILLS = "partial_fills"
    HALF_OPEN = "half_open"
    DISCONNECT = "disconnect"
    RATE_LIMIT_AND_BAN = "rate_limit_and_ban"
    MAINTENANCE = "maintenance"
    CLOCK_SKEW = "clock_skew"
    STALE_FEED = "stale_feed"
    FROZEN_FEED = "frozen_feed"
    BAD_DATA = "bad_data"
    LYING_VENUE = "lying_venue"
    DISK_FULL = "disk_full"
    SLOW_FSYNC = "slow_fsync"
    ACTOR_CRASH = "actor_crash"
    PROCESS_KILL = "process_kill"
    POWER_CUT = "power_cut"
    OPERATOR = "operator"
    DELISTING = "delisting"
    INSTRUMENT_CHANGE = "instrument_change"
    ADL = "adl"
    LIQUIDATION = "liquidation"
    INSUFFICIENT_MARGIN = "insufficient_margin"
    EXTERNAL_ORDER = "external_order"
    EXTERNAL_CANCEL = "external_cancel"
    STOPS_REJECTED = "stops_rejected"
    TIGHT_LIMITS = "tight_limits"
    RESTORED_BACKUP = "restored_backup"
    DAY_END = "day_end"
    SITE_TROUBLE = "site_trouble"
    BLIND_ACCOUNT = "blind_account"
    NARROW_DAY_BUDGET = "narrow_day_budget"
    NARROW_OPEN_RISK = "narrow_open_risk"
    NARROW_CLUSTER = "narrow_cluster"
    NARROW_SHOCK = "narrow_shock"
    NARROW_NOTIONAL = "narrow_notional"
    NARROW_MARGIN = "narrow_margin"
    NARROW_COUNTS = "narrow_counts"
    REFINER_TROUBLE = "refiner_trouble"
    EARNED_GATE = "earned_gate"
    GATE_HISTORY = "gate_history"
    ALL_STRATEGIES = "all_strategies"
    ALL_VETOES = "all_vetoes"
    BAD_SOURCES = "bad_sources"
    FLOW_TROUBLE = "flow_trouble"


@attrs.frozen
class Fault:
    """A fault of the simulation.

    It lasts ``window_s`` seconds ``windows_per_hour`` times an hour on average, and at least once
    (without ``window_s`` it strikes at these times);
    or it strikes single calls with probability ``rate``; or it changes the simulation's set-up.
    ``stream`` is the number of its random stream, so a new name changes no draw. The number of a
    removed fault is not used again.
    """

    stream: int
    name: FaultName
    doc: str
    windows_per_hour: float = 0.0
    window_s: tuple[float, float] = (0.0, 0.0)  # shortest, longest
    rate: float = 0.0  # probability per call, message or commit
    share: float = 0.35  # of the seeds that have it


_F = FaultName

FAULTS: tuple[Fault, ...] = (
    Fault(
        1,
        _F.LATENCY_REORDER,
        "requests and responses take up to 2 s and arrive in another order",
        rate=0.5,
        share=0.6,
    ),
    Fault(
        2, _F.TIMEOUT_BEFORE_ACCEPT, "an order or a cancel times out and does not arrive", rate=0.1
    ),
    Fault(
        3, _F.TIMEOUT_AFTER_ACCEPT, "an order times out and is accepted, up to 8 s late", rate=0.1
    ),
    Fault(4, _F.DUPLICATE_EVENTS, "the private stream repeats an event", rate=0.2),
    Fault(5, _F.LOST_EVENTS, "the private stream drops an event", rate=0.15),
    Fault(
        6,
        _F.OUT_OF_ORDER_EVENTS,
        "the private stream delivers events late and in another order",
        rate=0.3,
    ),
    Fault(
        7,
        _F.PARTIAL_FILLS,
        "the order book is thin, so entries and take-profits fill in parts",
        share=0.5,
    ),
    Fault(8, _F.HALF_OPEN, "the private stream stops without an error", 3, (20, 300)),
    Fault(9, _F.DISCONNECT, "every call times out and the private stream is lost", 3, (5, 180)),
    Fault(
        10,
        _F.RATE_LIMIT_AND_BAN,
        "the venue answers every call with a rate limit or ban",
        3,
        (5, 240),
    ),
    Fault(11, _F.MAINTENANCE, "reads fail and orders have an unknown outcome", 1.5, (60, 600)),
    Fault(
        12, _F.CLOCK_SKEW, "the system clock is up to 4 s wrong and changes in steps", 4, (120, 600)
    ),
    Fault(13, _F.STALE_FEED, "quotes and bars are up to 90 s old", 3, (30, 240)),
    Fault(14, _F.FROZEN_FEED, "quotes do not change and no bar closes", 3, (30, 300)),
    Fault(15, _F.BAD_DATA, "prices are NaN, quotes are crossed, bars are missing", 6, (20, 200)),
    Fault(16, _F.LYING_VENUE, "a list omits an order, a fill, a position or a payment", rate=0.05),
    Fault(17, _F.DISK_FULL, "the disk is full, so the journal cannot commit", 2, (2, 120)),
    Fault(18, _F.SLOW_FSYNC, "a commit takes up to 7 s", rate=0.05),
    Fault(19, _F.ACTOR_CRASH, "an actor raises an error where it waits", rate=0.0004, share=0.5),
    Fault(
        20,
        _F.PROCESS_KILL,
        "the process is killed at a commit, at a call or at any time",
        4,
        share=0.5,
    ),
    Fault(21, _F.POWER_CUT, "the process is killed and unsynced data is lost", 2, share=0.35),
    Fault(
        22,
        _F.OPERATOR,
        "the operator halts, resumes, flattens or restarts with other settings",
        3,
        share=0.35,
    ),
    Fault(23, _F.DELISTING, "a market ends and the venue settles its position", 0.6, share=0.25),
    Fault(
        24,
        _F.INSTRUMENT_CHANGE,
        "tick size, lot size, contract size or margin rate changes",
        3,
        share=0.25,
    ),
    Fault(25, _F.ADL, "auto-deleveraging closes all or half of a position", 3, share=0.25),
    Fault(26, _F.LIQUIDATION, "the price gaps through stop and liquidation price", 1, share=0.25),
    Fault(27, _F.INSUFFICIENT_MARGIN, "a withdrawal leaves too little margin", 1.5, share=0.25),
    Fault(28, _F.EXTERNAL_ORDER, "an external order fills on the same account", 2.5, share=0.3),
    Fault(29, _F.EXTERNAL_CANCEL, "a stop is canceled externally", 2.5, share=0.3),
    Fault(30, _F.STOPS_REJECTED, "the venue rejects separate stops", 4, (30, 300), share=0.25),
    Fault(
        31,
        _F.TIGHT_LIMITS,
        "risk limits are so low that they, not exposure, decide sizes",
        share=0.3,
    ),
    Fault(
        32,
        _F.RESTORED_BACKUP,
        "a backup of the journal, up to 15 min old, is restored",
        1.5,
        share=0.25,
    ),
    Fault(33, _F.DAY_END, "a UTC day ends in the middle of the run", share=0.3),
    Fault(
        34,
        _F.SITE_TROUBLE,
        "the public site crashes, hangs, uses too much memory, floods its output, sends invalid or"
        " too many heartbeats, or does not start",
        10,
        share=0.25,
    ),
    Fault(
        35,
        _F.BLIND_ACCOUNT,
        "the account cannot be read for 1 to 7 min; other reads work",
        6,
        (60, 420),
        share=0.15,
    ),
    Fault(
        36,
        _F.NARROW_DAY_BUDGET,
        "the daily loss limit is so low that the daily budget binds",
        share=0.08,
    ),
    Fault(37, _F.NARROW_OPEN_RISK, "the open risk limit is so low that it binds", share=0.08),
    Fault(38, _F.NARROW_CLUSTER, "the cluster risk limit is so low that it binds", share=0.08),
    Fault(39, _F.NARROW_SHOCK, "the assumed shock is so large that its limit binds", share=0.08),
    Fault(40, _F.NARROW_NOTIONAL, "the total notional limit is so low that it binds", share=0.08),
    Fault(41, _F.NARROW_MARGIN, "the total margin limit is so low that it binds", share=0.08),
    Fault(
        42,
        _F.NARROW_COUNTS,
        "the limits on entries per hour and day are so low that they bind",
        share=0.08,
    ),
    Fault(
        43,
        _F.REFINER_TROUBLE,
        "a language model judges candidates; it refuses, shrinks, is slow, fails or never answers,"
        " and its budget is small",
        share=0.15,
    ),
    Fault(
        44,
        _F.EARNED_GATE,
        "strategies have only the sizes that shadow records earn, and gain or lose them on the way",
        share=0.15,
    ),
    Fault(
        45,
        _F.GATE_HISTORY,
        "strategies were demoted, or are canaries or live, and cross the next threshold or miss it",
        share=0.15,
    ),
    Fault(46, _F.ALL_STRATEGIES, "all strategies signal, from all sources", share=0.15),
    Fault(47, _F.ALL_VETOES, "all vetoes are asked, with regimes", share=0.15),
    Fault(
        48,
        _F.BAD_SOURCES,
        "sources of all strategies are stale, missing, NaN or 100 times larger",
        6,
        (60, 600),
        share=0.15,
    ),
    Fault(
        49,
        _F.FLOW_TROUBLE,
        "order flow is gathered from a stream of quotes that breaks, lags, loses, repeats or turns"
        " batches, or has invalid quotes and trades",
        rate=0.01,
        share=0.15,
    ),
)
"""All faults."""

REPORTED_AT_ONCE = frozenset({_F.EXTERNAL_CANCEL, _F.STOPS_REJECTED, _F.TIGHT_LIMITS})
"""If a seed has only these faults, the stream reports a lost stop, so no delay is excused."""

ALL_SOURCES = frozenset({_F.ALL_STRATEGIES, _F.BAD_SOURCES})
"""With one of these all strategies are enabled, and the market has their sources."""

BLIND = (_F.DISCONNECT, _F.MAINTENANCE, _F.RATE_LIMIT_AND_BAN, _F.DISK_FULL, _F.BLIND_ACCOUNT)
"""While one of these lasts, no process can place a stop, or none can learn of a change."""

SWARM_STREAM = 100  # random stream of the choice of faults
REFINER_STREAM = 102  # random stream of the refiner's settings
SIMULATION_STREAM = 101  # random stream of attached orders or none, and of the time between runs

FAULT_NAMES = tuple(FaultName)
BY_NAME = {fault.name: fault for fault in FAULTS}


def parse_faults(text: str) -> frozenset[FaultName] | None:
    """Return the faults that ``text`` lists, or None for ``all``.

    With ``all`` each seed draws its faults. With ``none`` there are none.

    Raises:
        ConfigurationError: a fault is unknown or ``text`` is empty.
    """
    if text == "all":
        return None
    if text == "none":
        return frozenset()
    names = [part.strip() for part in text.split(",") if part.strip()]
    for name in names:
        if name not in BY_NAME:
            near = difflib.get_close_matches(name, FAULT_NAMES, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known faults: {', '.join(FAULT_NAMES)}"
            raise ConfigurationError(f"--faults has the unknown fault {name!r}; {hint}")
    if not names:
        raise ConfigurationError(
            "--faults is empty; expected all, none, or a comma-separated list such as adl,bad_data"
        )
    return frozenset(map(FaultName, names))


def draw_faults(seed: int) -> frozenset[FaultName]:
    """Draw the faults that a seed switches on; one seed in ten has none."""
    draw = make_random_stream(seed, SWARM_STREAM)
    if draw.random() < 0.1:
        return frozenset()
    return frozenset(fault.name for fault in FAULTS if draw.random() < fault.share)
