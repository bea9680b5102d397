"""Decisions on the governor's trading state, and the equity reads that they use.

As the day's loss grows, the state changes from ACTIVE to REDUCED_SIZE, REDUCE_ONLY and FLATTENING.
After a loss, REDUCED_SIZE and REDUCE_ONLY end after the first clean reconciliation of the next UTC
day, or when the operator resumes. Only the operator ends FLATTENING, in two steps, and a halt that
the operator or a restart storm began. A halt because account or marks were unknown, or because book
and venue differed, ends with two fresh reads and a clean reconciliation. A halt because of a full
disk ends with free space and a clean reconciliation.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.book.events import StateChanged
from kamou.core.book.position_book import PositionBook
from kamou.core.codes import StateReason
from kamou.core.day import day_start_ms, utc_day
from kamou.core.model import Figure, PositionReport, TradingState
from kamou.core.risk.limits import RiskLimits
from kamou.core.risk.midnight_equity import MidnightMarks

_T = TradingState

OPERATOR_RESUMES = frozenset(
    {StateReason.OPERATOR_HALT, StateReason.OPERATOR_RESUME, StateReason.RESTART_STORM}
)
"""Reasons of halts that only the operator ends.

A halt with the reason ``OPERATOR_RESUME`` is the first of two steps out of FLATTENING.
"""


FRESH_RESUMES = frozenset({StateReason.EQUITY_UNKNOWN, StateReason.RECONCILE_MISMATCH})
"""Reasons of halts that two fresh reads and a clean reconciliation end."""


@attrs.frozen(kw_only=True)
class EquityRead:
    """One read of the account's equity at the venue."""

    equity: Decimal  # money
    at_ms: int  # by the venue's clock
    marks_at_ms: int | None = None  # of the oldest mark of a position; None: no position
    exit_costs: Decimal = Decimal(0)  # money: cost of closing all positions
    explained: bool = True  # True: fills and income explain the change of the wallet balance
    wallet_balance: Decimal = Decimal(0)  # money, realized only
    positions: tuple[PositionReport, ...] = ()
    agreed: bool = True  # True: no mismatch with the book, and none pending
    midnights: tuple[MidnightMarks, ...] = ()  # of days that are not open yet

    @property
    def finite(self) -> bool:
        """True if equity, exit costs and wallet balance are finite."""
        return all(m.is_finite() for m in (self.equity, self.exit_costs, self.wallet_balance))


@attrs.frozen(kw_only=True)
class Pending:
    """Breach of a loss limit by one read, which a second read must confirm."""

    level: TradingState  # for the loss of that read
    at_ms: int  # of that read


@attrs.frozen(kw_only=True)
class EquityReads:
    """Newest read of the equity in this process, its freshness, and a pending breach."""

    newest: EquityRead | None  # the newest finite one; None: none since ``started_at_ms``
    pending: Pending | None = None  # breach of the last decision
    started_at_ms: int = 0  # start of the governor; without a read, ages count from it
    # Time of the first of the fresh reads without an old one in between, in this trading state.
    # None: the newest read was not fresh, or there is none.
    fresh_since_ms: int | None = None


@attrs.frozen(kw_only=True)
class Decision:
    """Trading state before and after one decision.

    ``reason`` is the reason of the change to commit; None if no change is due. ``read_again_ms`` is
    the earliest time of the read that may confirm a breach; None if no such read is needed.
    ``refusal`` says in words why the operator's resume changes nothing; empty otherwise.
    """

    before: TradingState
    after: TradingState
    reason: StateReason | None = None
    figures: tuple[Figure, ...] = ()
    pending: Pending | None = None
    read_again_ms: int | None = None
    refusal: str = ""

    def event(self, at_ms: int) -> StateChanged | None:
        """Return the event to commit before acting on the decision; None without a change."""
        if self.reason is None:
            return None
        return StateChanged(
            at_ms=at_ms,
            before=self.before,
            after=self.after,
            reason=self.reason,
            figures=self.figures,
        )


def overdue_ms(read: EquityRead, limits: RiskLimits, now_ms: int) -> int:
    """Return the time by which account or marks exceed their age limit, in ms.

    It is 0 or less if both are fresh. The age of the account grows until its next read. The age of
    a mark counts only if the mark was too old already at the time of the account read.
    """
    overdue = now_ms - read.at_ms - limits.account_age_max_s * 1000
    limit_ms = limits.quote_age_max_s * 1000
    if read.marks_at_ms is not None and read.at_ms - read.marks_at_ms > limit_ms:
        overdue = max(overdue, now_ms - read.marks_at_ms - limit_ms)
    return overdue


def next_state(
    book: PositionBook,
    reads: EquityReads,
    *,
    limits: RiskLimits,
    now_ms: int,
    protection_failed: bool = False,
    disk_full: bool = False,
) -> Decision:
    """Return the decision on the governor's next trading state.

    Args:
        book: the position book with all events of the journal.
        protection_failed: True if a position could not be protected and repeated exit orders
            failed.
        disk_full: True if the disk has no space for the journal.
    """
    now, read, pending = book.trading.state, reads.newest, reads.pending
    if protection_failed and now is not _T.FLATTENING:
        return _to(book, _T.FLATTENING, StateReason.PROTECTION_FAILED, pending)
    if now is _T.FLATTENING:
        return Decision(before=now, after=now, pending=pending)
    if read is None or not read.finite:
        read, known = None, EquityRead(equity=Decimal(0), at_ms=reads.started_at_ms)
    else:
        known = read
    overdue = overdue_ms(known, limits, now_ms)
    reason = _reason_to_stop_entries(book, overdue, limits, disk_full=disk_full)
    if reason is None and (read is None or overdue > 0):
        return Decision(before=now, after=now, pending=pending)  # entries are denied meanwhile
    if reason is not None:
        # Unknown data never causes FLATTENING, and a pending breach stays.
        if now.severity >= _T.REDUCE_ONLY.severity:
            return Decision(before=now, after=now, pending=pending)
        age = (Figure(name="overdue_ms", value=str(max(0, overdue))),)
        return _to(book, _T.REDUCE_ONLY, reason, pending, age)
    assert read is not None
    if not read.explained:
        # The venue's list of income may omit a withdrawal. It is read again within seconds. Entries
        # are denied meanwhile, because book and venue do not agree.
        return Decision(before=now, after=now, pending=pending)
    if utc_day(read.at_ms) != book.day.utc_day or not book.day.equity > 0:
        return Decision(before=now, after=now)  # the day is not open yet; entries wait for it
    level, figures = _level(book, read, limits)
    if level.severity > now.severity:
        return _breach(book, level, figures, read, pending, limits)
    if _may_resume(book, now_ms, read, reads.fresh_since_ms, limits):
        # The new state is that of today's loss, which may be the same again.
        reason = _recovery(book, level)
        return _to(book, level, reason, None, figures)
    return Decision(before=now, after=now)


def decide_command(book: PositionBook, after: TradingState, reason: StateReason) -> Decision:
    """Return the decision on a command for a worse state.

    The operator, a restart storm or a full disk causes the command. A command for a better state
    changes nothing. A command for the current state changes only its reason, if the new reason is
    one of ``OPERATOR_RESUMES``. So the next day does not end a halt that the operator also
    commands.
    """
    now = book.trading.state
    stricter = reason in OPERATOR_RESUMES and reason is not book.trading.reason
    if after.severity > now.severity or (after is now and stricter):
        return _to(book, after, reason, None)
    return Decision(before=now, after=now)


def decide_resume(
    book: PositionBook, read: EquityRead | None, *, limits: RiskLimits, now_ms: int
) -> Decision:
    """Return the decision on the operator's resume.

    ACTIVE stays. FLATTENING changes to REDUCE_ONLY without further checks. Another state stays
    while account or marks are unknown or too old, a drift or a change of the wallet balance is not
    explained, no day was opened, or the day's loss demands the state. Then ``refusal`` has the
    reason, and ``reason`` is None.

    Args:
        read: the newest read; None: none in this process.
    """
    now = book.trading.state
    if now is _T.ACTIVE:
        return Decision(before=now, after=now)
    if now is _T.FLATTENING:
        return _to(book, _T.REDUCE_ONLY, StateReason.OPERATOR_RESUME, None)
    refusal = _not_known(book, read, limits, now_ms)
    if refusal:
        return Decision(before=now, after=now, refusal=refusal)
    assert read is not None
    level, figures = _level(book, read, limits)
    if level.severity >= now.severity:
        refusal = f"the day's loss still demands the trading state {level}"
        return Decision(before=now, after=now, figures=figures, refusal=refusal)
    return _to(book, level, StateReason.OPERATOR_RESUME, None, figures)


def _not_known(book: PositionBook, read: EquityRead | None, limits: RiskLimits, now_ms: int) -> str:
    """Return in words what a resume must wait for, or an empty text."""
    if read is None or not read.finite or overdue_ms(read, limits, now_ms) > 0:
        return "account or marks are not known, or too old"
    if not read.explained:
        return "a change of the wallet balance is not explained"
    if book.reconciliation.drifting:
        return "the book and the exchange differ"
    if not book.day.equity > 0:
        return "the day has not opened yet"
    return ""


def _reason_to_stop_entries(
    book: PositionBook, overdue: int, limits: RiskLimits, *, disk_full: bool
) -> StateReason | None:
    """Return a reason to stop entries that does not depend on the day's loss, or None.

    Args:
        overdue: result of ``overdue_ms``.
    """
    if disk_full:
        return StateReason.DISK_FULL
    if book.reconciliation.drifting:
        return StateReason.RECONCILE_MISMATCH
    if overdue > limits.stale_halt_s * 1000:
        return StateReason.EQUITY_UNKNOWN
    return None


def _level(
    book: PositionBook, read: EquityRead, limits: RiskLimits
) -> tuple[TradingState, tuple[Figure, ...]]:
    """Return the trading state for the day's loss, with its figures.

    A loss equal to a limit reaches it.
    """
    day = book.measure_day(read.equity, read.exit_costs, at_ms=read.at_ms)
    limit = limits.daily_loss_max
    figures = (
        Figure(name="day_pnl", value=f"{-day.loss * 100:.2f}%"),
        Figure(name="limit", value=f"{limit * 100:.2f}%"),
        Figure(name="equity", value=str(read.equity)),
        Figure(name="day_equity", value=str(day.equity_start)),
        Figure(name="net_deposits", value=str(day.net_deposits)),
        Figure(name="exit_costs", value=f"{read.exit_costs:.2f}"),
    )
    for level, share in (
        (_T.FLATTENING, limits.flatten_at),
        (_T.REDUCE_ONLY, Decimal(1)),
        (_T.REDUCED_SIZE, limits.reduced_at),
    ):
        if day.loss >= limit * share:
            return level, figures
    return _T.ACTIVE, figures


_REASONS = {
    _T.REDUCED_SIZE: StateReason.DAY_LOSS_HALF,
    _T.REDUCE_ONLY: StateReason.DAY_LOSS_LIMIT,
    _T.FLATTENING: StateReason.DAY_LOSS_SEVERE,
}


def _breach(
    book: PositionBook,
    level: TradingState,
    figures: tuple[Figure, ...],
    read: EquityRead,
    pending: Pending | None,
    limits: RiskLimits,
) -> Decision:
    """Return a change to the milder state of two breaches, or wait for the second.

    A breach is a read at or beyond a loss limit. The two reads must be at least
    ``equity_confirm_s`` apart.
    """
    wait_ms = limits.equity_confirm_s * 1000
    if pending is None or pending.level.severity <= book.trading.state.severity:
        pending = Pending(level=level, at_ms=read.at_ms)
    elif read.at_ms - pending.at_ms >= wait_ms:
        confirmed = min(level, pending.level, key=lambda s: s.severity)
        worse = level.severity > confirmed.severity
        left = Pending(level=level, at_ms=read.at_ms) if worse else None
        again_ms = read.at_ms + wait_ms if worse else None
        decided = _to(book, confirmed, _REASONS[confirmed], left, figures)
        return attrs.evolve(decided, read_again_ms=again_ms)
    now = book.trading.state
    return Decision(before=now, after=now, pending=pending, read_again_ms=pending.at_ms + wait_ms)


def _may_resume(
    book: PositionBook,
    now_ms: int,
    read: EquityRead,
    fresh_since_ms: int | None,
    limits: RiskLimits,
) -> bool:
    """Return True if the trading state may improve without the operator."""
    if book.trading.state is _T.ACTIVE:
        return False
    if book.trading.state is _T.REDUCE_ONLY and book.trading.reason in OPERATOR_RESUMES:
        return False
    agreed = book.reconciliation.clean_at_ms > book.trading.since_ms
    if book.trading.reason is StateReason.DISK_FULL:
        return agreed  # the disk has space, and a reconciliation was clean since then
    if book.trading.reason in FRESH_RESUMES:
        apart_ms = limits.equity_confirm_s * 1000
        twice = fresh_since_ms is not None and read.at_ms - fresh_since_ms >= apart_ms
        return agreed and twice
    today_ms = day_start_ms(now_ms)
    return book.trading.since_ms < today_ms <= book.reconciliation.clean_at_ms


def _recovery(book: PositionBook, level: TradingState) -> StateReason:
    """Return the reason of the state that follows one that ended without the operator."""
    if level is book.trading.state:
        return _REASONS[level]
    if book.trading.reason in (*FRESH_RESUMES, StateReason.DISK_FULL):
        return StateReason.DATA_RECOVERED
    return StateReason.DAY_ROLLED


def _to(
    book: PositionBook,
    after: TradingState,
    reason: StateReason,
    pending: Pending | None,
    figures: tuple[Figure, ...] = (),
) -> Decision:
    return Decision(
        before=book.trading.state, after=after, reason=reason, figures=figures, pending=pending
    )
