"""``DecisionRecorder`` of a cycle's entry decisions, and inputs of their reviews."""

from __future__ import annotations

from decimal import Decimal

from kamou.core.book.candidate_events import DeniedEntry, EntriesDenied
from kamou.core.book.decision_events import (
    AccountRead,
    EntriesDecided,
    EntryDecision,
    GovernorRead,
    QuoteRead,
)
from kamou.core.book.position_book import PositionBook
from kamou.core.model import Account, Candidate
from kamou.core.record.gate import LiveGrant
from kamou.core.risk.context import ReviewContext
from kamou.core.risk.valuation import Valuation

_Marks = dict[str, tuple[Decimal, int] | None]
"""Marks of the open positions by symbol, each with its time; None without a sound quote."""


class DecisionRecorder:
    """Recorder of a cycle's decisions and denials that no event has yet."""

    def __init__(self, cause_id: str) -> None:
        self._cause_id = cause_id
        self._marks: _Marks | None = None  # of the newest decision that waits
        self._waiting: list[EntryDecision] = []
        self._denied: list[DeniedEntry] = []

    def add(
        self,
        candidate: Candidate,
        valuation: Valuation,
        *,
        funding_rate: Decimal | None,
        grant: LiveGrant | None,
    ) -> None:
        """Add a decision on the quotes of a valuation.

        Args:
            candidate: its symbol has a sound quote in ``valuation``.
            valuation: the book, the quotes and the time of the decision.
            funding_rate: settled last, a fraction per interval; None: not known.
            grant: the gate's grant for the strategy; None: not live.
        """
        book, quotes, at_ms = valuation.book, valuation.quotes, valuation.at_ms
        quote = quotes[candidate.symbol]
        marks: _Marks = {
            symbol: (each.mark, each.at_ms) if (each := quotes.get(symbol)) and each.sound else None
            for symbol in sorted(book.trades.open)
        }
        before, self._marks = self._marks, marks
        shown = () if marks == before else tuple(marks.values())
        ages = tuple(0 if each is None else at_ms - each[1] for each in shown)
        self._waiting.append(
            EntryDecision(
                signal_id=candidate.signal_id,
                seq=book.seq,
                at_ms=at_ms,
                quote=QuoteRead(quote.bid, quote.ask, quote.mark, at_ms - quote.at_ms),
                marks=tuple(None if each is None else each[0] for each in shown),
                ages_ms=ages[:1] if len(set(ages)) == 1 else ages,
                funding_rate=funding_rate,
                grant=None if grant is None else grant.size_fraction,
                review=None,
            )
        )

    def add_review(self, read: GovernorRead) -> None:
        """Add the governor's inputs to the decision that was added last."""
        self._waiting[-1] = self._waiting[-1]._replace(review=read)

    def deny(self, denied: DeniedEntry) -> None:
        """Add an entry that is denied without a review."""
        self._denied.append(denied)

    def take_denials(self) -> tuple[EntriesDenied, ...]:
        """Return the event of the denials that wait, if any; they wait no longer."""
        denied, self._denied = self._denied, []
        if not denied:
            return ()
        return (
            EntriesDenied(
                at_ms=max(each.at_ms for each in denied),
                cause_id=self._cause_id,
                entries=tuple(denied),
            ),
        )

    def take(self, at_ms: int) -> tuple[EntriesDecided, ...]:
        """Return the event of the added decisions, if there are any, and forget them."""
        waiting, self._waiting, self._marks = self._waiting, [], None
        if not waiting:
            return ()
        return (
            EntriesDecided(
                at_ms=at_ms,
                cause_id=self._cause_id,
                decisions=tuple(waiting),
            ),
        )


def note_review(context: ReviewContext) -> GovernorRead:
    """Return the inputs of a review that neither the governor's book nor the plan has.

    ``account`` is None if no account was read or the book has the same figures. ``held`` is None if
    the book has positions in the same symbols.
    """
    book, account = context.book, context.account
    held = {position.symbol for position in context.positions if position.quantity}
    return GovernorRead(
        seq=book.seq,
        at_ms=context.now_ms,
        tokens=context.tokens,
        reconciled=context.reconciled,
        clock_offset_ms=context.clock_offset_ms,
        account_age_ms=None if account is None else context.now_ms - account.at_ms,
        account=None if account is None else _note_account(account, book),
        held=None if held == book.trades.open.keys() else tuple(sorted(held)),
    )


def _note_account(account: Account, book: PositionBook) -> AccountRead | None:
    """Return the figures of an account read, or None if the book's snapshot has them."""
    read = account.equity, account.wallet_balance, account.unrealized_pnl, account.margin_used
    snapshot = (
        book.account.equity,
        book.account.wallet_balance,
        book.account.unrealized_pnl,
        book.account.margin_used,
    )
    if account.at_ms == book.account.marked_ms and read == snapshot:
        return None
    return AccountRead(*map(str, read))
