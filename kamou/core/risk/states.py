"""The governor's states: when trading is reduced, halted, flattened, and how it comes back.

NORMAL -> REDUCED -> HALT_NEW -> FLATTEN follow the day's loss; KILLED is a human's. States only
get worse by themselves. They get better at the next UTC day after a clean reconciliation (not
when a human halted), or by a human; from FLATTEN and KILLED by a human in two steps.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.book import Book
from kamou.core.codes import StateReason
from kamou.core.day import day_pnl, day_start_ms, utc_day
from kamou.core.events import StateChanged
from kamou.core.limits import RiskLimits
from kamou.core.model import Figure, TradingState

_T = TradingState

HUMAN_REARMS = frozenset(
    {StateReason.HUMAN_HALT, StateReason.HUMAN_RESUME, StateReason.RESTART_STORM}
)
"""Halts that the next day does not end: a person, or a broken machine, asked for them.

``HUMAN_RESUME`` as the reason of a halt is the first of two steps out of FLATTEN or KILLED.
"""


@attrs.frozen(kw_only=True)
class EquityRead:
    """One read of the venue's equity."""

    equity: Decimal
    at_ms: int
    marks_fresh: bool = True  # every open position was valued at a fresh mark


@attrs.frozen(kw_only=True)
class Pending:
    """A first read beyond a limit, waiting for the second."""

    level: TradingState
    at_ms: int


@attrs.frozen(kw_only=True)
class Decision:
    """The state from now on. ``reason`` is None when nothing changed.

    ``read_again_ms``: when a second read would confirm a pending breach; None otherwise.
    """

    before: TradingState
    after: TradingState
    reason: StateReason | None = None
    figures: tuple[Figure, ...] = ()
    pending: Pending | None = None
    read_again_ms: int | None = None

    def event(self, at_ms: int) -> StateChanged | None:
        """What to commit before acting on it; None when nothing changed."""
        if self.reason is None:
            return None
        return StateChanged(
            at_ms=at_ms,
            before=self.before,
            after=self.after,
            reason=self.reason.value,
            figures=self.figures,
        )


def next_state(
    book: Book,
    read: EquityRead | None,
    pending: Pending | None,
    *,
    limits: RiskLimits,
    now_ms: int,
    protection_failed: bool = False,
    disk_full: bool = False,
) -> Decision:
    """What the governor's state becomes.

    Args:
        book: caught up; its state, day and drift are used.
        read: the newest equity; None when the venue's could not be had.
        pending: what the last call returned.
        protection_failed: a position could not be protected and its close was refused.
    """
    now = book.state
    if protection_failed and now.severity < _T.FLATTEN.severity:
        return _to(book, _T.FLATTEN, StateReason.PROTECTION_FAILED, pending)
    if now.severity >= _T.FLATTEN.severity:
        return Decision(before=now, after=now, pending=pending)
    unsure = _unsure(book, read, limits, now_ms, disk_full)
    if unsure is not None:
        # Never FLATTEN on what is not known, and never forget a breach that is pending.
        if now.severity >= _T.HALT_NEW.severity:
            return Decision(before=now, after=now, pending=pending)
        return _to(book, _T.HALT_NEW, unsure, pending)
    assert read is not None
    if utc_day(read.at_ms) != book.day or not book.day_equity > 0:
        return Decision(before=now, after=now)  # the day is not open yet; entries wait for it
    level, figures = _level(book, read, limits)
    if level.severity > now.severity:
        return _breach(book, level, figures, read, pending, limits)
    if _rearmed(book, now_ms):
        # Yesterday's latch opens, unless today has earned one of its own.
        reason = _REASONS[level] if level is now else StateReason.DAY_ROLLED
        return _to(book, level, reason, None, figures)
    return Decision(before=now, after=now)


def command(book: Book, after: TradingState, reason: StateReason) -> Decision:
    """A human, or the supervisor, asks for a worse state. Never for a better one.

    A halt that the next day would end becomes, on a human's halt, one that only a human ends.
    """
    now = book.state
    stricter = reason in HUMAN_REARMS and reason.value != book.state_reason
    if after.severity > now.severity or (after is now and stricter):
        return _to(book, after, reason, None)
    return Decision(before=now, after=now)


def resume(book: Book, read: EquityRead | None, *, limits: RiskLimits, now_ms: int) -> Decision:
    """A human rearms: one step up from HALT_NEW, and from FLATTEN or KILLED to HALT_NEW first.

    Refused (``reason`` None) while equity is unknown, drift is unexplained, or the day's loss
    still demands the state: it would trip again at once.
    """
    now = book.state
    if now is _T.NORMAL:
        return Decision(before=now, after=now)
    if now.severity >= _T.FLATTEN.severity:
        return _to(book, _T.HALT_NEW, StateReason.HUMAN_RESUME, None)
    if _unsure(book, read, limits, now_ms, False) is not None or not book.day_equity > 0:
        return Decision(before=now, after=now)
    assert read is not None
    level, figures = _level(book, read, limits)
    if level.severity >= now.severity:
        return Decision(before=now, after=now, figures=figures)
    return _to(book, level, StateReason.HUMAN_RESUME, None, figures)


def _unsure(
    book: Book, read: EquityRead | None, limits: RiskLimits, now_ms: int, disk_full: bool
) -> StateReason | None:
    """Why new risk must wait, whatever the loss is."""
    if disk_full:
        return StateReason.DISK_FULL
    if book.drifting:
        return StateReason.RECONCILE_MISMATCH
    if (
        read is None
        or not read.equity.is_finite()
        or not read.marks_fresh
        or now_ms - read.at_ms > limits.account_age_max_s * 1000
    ):
        return StateReason.EQUITY_UNKNOWN
    return None


def _level(
    book: Book, read: EquityRead, limits: RiskLimits
) -> tuple[TradingState, tuple[Figure, ...]]:
    """The state that the day's loss asks for; it trips *at* the limit, not beyond it."""
    pnl = day_pnl(read.equity, book.day_equity, book.day_flows)
    limit = limits.daily_loss_max
    figures = (
        Figure(name="day_pnl", value=f"{pnl * 100:.2f}%"),
        Figure(name="limit", value=f"{limit * 100:.2f}%"),
        Figure(name="equity", value=str(read.equity)),
        Figure(name="day_equity", value=str(book.day_equity)),
        Figure(name="flows", value=str(book.day_flows)),
    )
    for level, share in (
        (_T.FLATTEN, limits.flatten_at),
        (_T.HALT_NEW, Decimal(1)),
        (_T.REDUCED, limits.reduced_at),
    ):
        if -pnl >= limit * share:
            return level, figures
    return _T.NORMAL, figures


_REASONS = {
    _T.REDUCED: StateReason.DAY_LOSS_HALF,
    _T.HALT_NEW: StateReason.DAY_LOSS_LIMIT,
    _T.FLATTEN: StateReason.DAY_LOSS_SEVERE,
}


def _breach(
    book: Book,
    level: TradingState,
    figures: tuple[Figure, ...],
    read: EquityRead,
    pending: Pending | None,
    limits: RiskLimits,
) -> Decision:
    """Two reads, far enough apart, that both breach: the milder of the two levels holds."""
    wait_ms = limits.equity_confirm_s * 1000
    if pending is None or pending.level.severity <= book.state.severity:
        pending = Pending(level=level, at_ms=read.at_ms)
    elif read.at_ms - pending.at_ms >= wait_ms:
        confirmed = min(level, pending.level, key=lambda s: s.severity)
        worse = level.severity > confirmed.severity
        left = Pending(level=level, at_ms=read.at_ms) if worse else None
        again_ms = read.at_ms + wait_ms if worse else None
        decided = _to(book, confirmed, _REASONS[confirmed], left, figures)
        return attrs.evolve(decided, read_again_ms=again_ms)
    now = book.state
    return Decision(before=now, after=now, pending=pending, read_again_ms=pending.at_ms + wait_ms)


def _rearmed(book: Book, now_ms: int) -> bool:
    """Whether the latch opens by itself."""
    if book.state is _T.NORMAL:
        return False
    if book.state is _T.HALT_NEW and book.state_reason in {r.value for r in HUMAN_REARMS}:
        return False
    if book.state_reason == StateReason.DISK_FULL.value:
        return book.reconciled_ms > book.state_since_ms  # space is back, and so is agreement
    today_ms = day_start_ms(now_ms)
    return book.state_since_ms < today_ms <= book.reconciled_ms


def _to(
    book: Book,
    after: TradingState,
    reason: StateReason,
    pending: Pending | None,
    figures: tuple[Figure, ...] = (),
) -> Decision:
    return Decision(before=book.state, after=after, reason=reason, figures=figures, pending=pending)
