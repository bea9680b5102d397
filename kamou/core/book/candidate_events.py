"""Events of the vetoes, verdicts and denials of a cycle's candidates.

All vetoes of a cycle are one event, and so are its verdicts. An event for each candidate would be
most of the journal: up to ``cycle.candidates_max`` of each strategy at every bar.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.book.events import Event
from kamou.core.kinds import RefinerVerdict
from kamou.core.model import Candidate, Denial


@attrs.frozen(kw_only=True)
class VetoedCandidate:
    """A candidate with the vetoes (T2) against it."""

    signal_id: str
    strategy: str
    symbol: str
    denials: tuple[Denial, ...]


@attrs.frozen(kw_only=True)
class CandidatesVetoed(Event):
    """Candidates of one cycle that vetoes (T2) stopped, in the order of their ranks."""

    candidates: tuple[VetoedCandidate, ...]


@attrs.frozen(kw_only=True)
class RefinedCandidate:
    """A candidate that passed the vetoes (T2), with the refiner's verdict."""

    candidate: Candidate
    verdict: RefinerVerdict
    size_multiplier: Decimal  # share of the full size
    reason_code: str  # empty: the refiner gave no reason


@attrs.frozen(kw_only=True)
class CandidatesRefined(Event):
    """Refiner's verdicts on the candidates of one cycle, in the order of their ranks.

    A bar that is ranked again after a restart has its candidates in two of these events.
    """

    candidates: tuple[RefinedCandidate, ...]


@attrs.frozen(kw_only=True)
class DeniedEntry:
    """An entry that the order manager denied before the governor could review it."""

    at_ms: int
    permit_id: str  # that its plan has, or would have
    signal_id: str
    strategy: str
    symbol: str
    denials: tuple[Denial, ...]


@attrs.frozen(kw_only=True)
class EntriesDenied(Event):
    """Entries that the order manager denied in one pass over a cycle's signals.

    They are in the order of their denials. The event is committed at the end of the pass, and
    before the intents of each permitted entry. Its time is that of its latest denial.
    """

    entries: tuple[DeniedEntry, ...]
