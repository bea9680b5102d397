"""Events of the refiner's calls of a language model. They change no book.

A cycle's reservation is committed before its first request. After a crash, a reservation without a
``RefinerCallsEnded`` counts as spent.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.book.events import Event
from kamou.core.kinds import RefinerVerdict
from kamou.core.refiner_codes import AnswerForm, RefinerFailure, RefinerReason


@attrs.frozen(kw_only=True)
class AnswerConfidence:
    """Log probabilities of an answer's tokens. Nothing is decided by them."""

    tokens: int
    mean: float
    lowest: float


@attrs.frozen(kw_only=True)
class ModelAnswer:
    """A valid answer of a model about one candidate."""

    verdict: RefinerVerdict
    size_pct: int  # 0, 25, 50, 75 or 100, of the full size
    p_win_pct: int  # 0 to 100, the model's own estimate; nothing is decided by it
    reason: RefinerReason


@attrs.frozen(kw_only=True)
class RefinerAnswer:
    """The result of asking a model about one candidate: an answer or a failure.

    A value that the response lacks is None or empty.
    """

    signal_id: str
    answer: ModelAnswer | None
    failure: RefinerFailure | None  # None: the answer is valid
    prompt_hash: str  # SHA-256, hex, of the messages
    model_asked: str
    model_echoed: str
    form: AnswerForm | None  # of the last request; None: no request
    requests: int
    status: int  # of HTTP; 0: no response
    finish_reason: str
    fingerprint: str
    tokens_in: int | None
    tokens_out: int | None
    latency_ms: int
    reserved_usd: Decimal
    cost_usd: Decimal
    confidence: AnswerConfidence | None


@attrs.frozen(kw_only=True)
class RefinerCallsReserved(Event):
    """Reservation of money for a cycle's calls, on the UTC day of ``at_ms``."""

    cycle_at_ms: int
    calls: int
    reserved_usd: Decimal

    @property
    def unique_key(self) -> str:
        return f"{self.cycle_at_ms}.{self.at_ms}"  # a restart may rank and ask again


@attrs.frozen(kw_only=True)
class RefinerCallsEnded(Event):
    """Results of a cycle's calls, and of the candidates that got no call."""

    cycle_at_ms: int
    reserved_at_ms: int  # ``at_ms`` of its reservation, if there was one
    answers: tuple[RefinerAnswer, ...]

    @property
    def cost_usd(self) -> Decimal:
        """Money that the cycle's calls cost."""
        return sum((each.cost_usd for each in self.answers), Decimal(0))

    @property
    def unique_key(self) -> str:
        return f"{self.cycle_at_ms}.{self.reserved_at_ms}"
